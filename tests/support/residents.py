"""Who lives in a town: pods of the cluster, and what is outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.lab.pod_spec import App, PodSpec
from controlplane.lab.pods import Lab
from tests.support.servers import Pair

ECHO = Path(__file__).parents[2] / "controlplane" / "lab" / "samples" / "echo"


def web(name: str, *ports: int, pem: Path | None = None) -> App:
    """An application that tells what reached it; see controlplane/lab/samples/echo/web.py."""
    tls = () if pem is None else (str(pem),)
    return App(
        ECHO / "web.py", (name, *map(str, ports), *tls), port=None if tls else ports[0], opens=ports[-1]
    )


@dataclass(frozen=True)
class Resident:
    """Somebody who lives here: `node` is the Kubernetes node of a pod; "" for what is not in the cluster."""

    spec: PodSpec
    meshed: bool = True
    node: str = "node-1"

    @property
    def manifest(self) -> dict[str, Any]:
        """The Pod."""
        spec = self.spec
        labels = dict(spec.labels)
        if self.meshed and spec.kind == "sidecar":
            labels["security.istio.io/tlsMode"] = "istio"
        status = {
            "phase": "Running",
            "podIP": spec.ip,
            "podIPs": [{"ip": spec.ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": spec.name, "namespace": spec.namespace, "labels": labels},
            "spec": {
                "serviceAccountName": spec.service_account,
                "nodeName": self.node,
                "containers": [{"name": "app"}],
            },
            "status": status,
        }


def pod(
    name: str,
    namespace: str,
    number: int,
    runs: App | None = None,
    *,
    meshed: bool = True,
    node: str = "node-1",
    **labels: str,
) -> Resident:
    """A pod of the cluster, at the address with this number; without labels it is of the app of its name."""
    labels = labels or {"app": name}
    spec = PodSpec(name, namespace, f"10.244.0.{number}", labels, name, app=runs)
    return Resident(spec, meshed, node)


def outside(name: str, number: int, app: App) -> Resident:
    """A server that knows nothing of the mesh, and of which the mesh knows what it is told."""
    return Resident(PodSpec(name, "outside", f"203.0.113.{number}", app=app), meshed=False, node="")


def pem_file(lab: Lab, name: str, pair: Pair) -> Path:
    """A file with a certificate and its key, for a server of this name in the lab."""
    file = lab.directory / f"{name}.pem"
    file.write_bytes(pair.chain + pair.key)
    file.chmod(0o644)
    return file
