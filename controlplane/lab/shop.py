"""The running bookstore: pods, a control plane, and the hands that write its files and visit it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import cluster, pushes
from controlplane.lab.fetch import Target
from controlplane.lab.hops import INGRESS, OUTSIDER
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import App, Sidecar
from controlplane.lab.pods import Lab, Pod
from controlplane.lab.steps import Result, Step, Visit
from controlplane.lab.tokens import minter
from controlplane.lab.watched import Watched

SAMPLE = Path(__file__).parent / "samples" / "bookstore"
_TRAFFIC = Path(__file__).parent / "traffic.py"
Protocol = Literal["GRPC", "DELTA_GRPC"]


_INBOUND = "listener.0.0.0.0_15006."
_FAILED = ("ssl.connection_error", "ssl.fail_verify_error", "ssl.fail_verify_no_cert", "ssl.fail_verify_san")
_STATISTICS = (f"{_INBOUND}ssl.", f"{_INBOUND}no_filter_chain_match")


class Handshakes(NamedTuple):
    """At the doors of all workloads: mutual TLS that came about, that failed, and plaintext turned away."""

    made: int
    failed: int
    refused: int


class ShopError(MiniIstiodError):
    """The bookstore did not do what was asked of it; the message says what and why."""


class Shop:
    """Starts the control plane on an empty directory; `open` brings the pods.

    The control plane lives in the fabric as the pods do.  They find it there by TLS and prove by a token
    who they are.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        files = (SAMPLE / "kube" / name for name in ("bookstore.yaml", "ingress.yaml"))
        self.shape = cluster.complete([found for file in files for found in cluster.load(file)], SAMPLE)
        self.plane: Plane = start_plane(lab.site, house=lab.house())
        self._watched = Watched(self.plane.config, lab.directory, lambda: self.plane.get("/debug/traces"))

    def open(self, protocol: Protocol) -> tuple[pushes.Push, ...]:
        """Start all pods, wait until they are ready, then tell the mesh so; returns that push."""
        self.write("security.yaml", cluster.load(SAMPLE / "security" / "strict.yaml"))
        self.write("bookstore.yaml", self.shape.manifests)
        self.write("pods.yaml", tuple(workload.manifest for workload in self.shape.workloads))
        self.write("endpoints.yaml", cluster.endpoint_slices(self.shape, ready=False))
        self.plane.wait_ready()
        kubelet = self.lab.kubelet(self.plane.roots, minter(self.plane.data))
        sidecar = Sidecar(self.plane.secure, protocol, _STATISTICS, kubelet)
        for workload in self.shape.workloads:
            self.lab.start(workload.spec, sidecar if workload.meshed else None)
        self.lab.wait_ready()
        return self.push("endpoints.yaml", cluster.endpoint_slices(self.shape, ready=True))

    def pod(self, workload: str) -> Pod:
        """The pod of the Deployment of this name."""
        return self.lab.pods[self.shape.workload(workload).spec.name]

    def way(self, client: str, service: str) -> Target:
        """How a workload reaches a service.

        Its address is one that only a sidecar makes real; who has none knocks at the first pod itself.
        """
        asker, found = self.pod(client), self.shape.service(service)["spec"]
        port = found["ports"][0]
        if asker.sidecar is not None:
            return Target(asker.netns, found["clusterIP"], port["port"])
        knocked = next(
            one for one in self.shape.workloads if found["selector"].items() <= one.spec.labels.items()
        )
        return Target(asker.netns, knocked.spec.ip, port["targetPort"])

    @property
    def page(self) -> Target:
        """The product page for everybody: at the gateway."""
        return self.way(OUTSIDER, INGRESS)

    def arrange(self, step: Step) -> tuple[pushes.Push, ...]:
        """Write a step's policies and routing over those before; returns when all proxies have them."""
        policies = self.push("security.yaml", cluster.load(SAMPLE / "security" / step.security))
        return policies + self.push("routing.yaml", cluster.load(SAMPLE / "steps" / step.file))

    def write(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Target, ...]:
        """Replace one file of the watched directory atomically; returns the objects that it changes."""
        return self._watched.write(name, objects)

    def push(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Push, ...]:
        """Write a file and wait until every proxy has answered all of it.  NotAnswered if one does not."""
        return self._watched.push(name, objects)

    def visit(self, visit: Visit, requests: int) -> Iterator[Result]:
        """Send visitors, through their pod's sidecar if it has one; yields what each saw, as it happens."""
        way = self.way(visit.client, visit.asks)
        order = {
            "host": way.host,
            "port": way.port,
            "path": f"/{visit.asks}",
            "authority": f"{visit.asks}:{way.port}",
            "headers": dict(visit.headers),
            "requests": requests,
            "workers": visit.workers,
            "pause": visit.pause,
            "timeout": 15.0,
        }
        process = self.lab.run_in(self.pod(visit.client), App(_TRAFFIC, (json.dumps(order),)))
        if process.stdout is None:
            raise ShopError("the visitors' output is not connected")
        with process.stdout as lines:
            for line in lines:
                yield json.loads(line)
        if process.wait() != 0:
            raise ShopError(f"the visitors' program ended with status {process.returncode}")

    def rejections(self) -> tuple[str, ...]:
        """The updates that any Envoy refused so far, a sentence each."""
        return tuple(
            f"{name} refused {count} updates ({statistic})"
            for name, pod in sorted(self._meshed().items())
            for statistic, count in pod.rejected().items()
        )

    def handshakes(self) -> Handshakes:
        """What the Envoys of all pods counted so far."""
        found = [pod.admin.stats(f"^{_INBOUND}") for pod in self._meshed().values()]

        def total(*names: str) -> int:
            return sum(counts.get(f"{_INBOUND}{name}", 0) for counts in found for name in names)

        return Handshakes(total("ssl.handshake"), total(*_FAILED), total("no_filter_chain_match"))

    def _meshed(self) -> dict[str, Pod]:
        return {name: pod for name, pod in self.lab.pods.items() if pod.sidecar is not None}
