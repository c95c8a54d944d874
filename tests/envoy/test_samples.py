"""Istio's own samples, as their users apply them: nothing is found wrong, nothing is without effect, and a
real Envoy accepts what a sidecar of each workload and the gateway are given.

Each workload has an identity, so that all of it is under mutual TLS.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.lab.tools import find_envoy
from controlplane.mesh.checks import checks
from controlplane.mesh.projections import ProxyView
from controlplane.model.kinds import BY_NAME
from tests.envoy.test_accepts import can_be_static, check, inline, plain
from tests.unit.envoy.traffic import Traffic

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "istio-samples"
pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="Istio's samples are not beside this repository"),
]

NETWORKING = "bookinfo/networking"
BOOKINFO = (
    *(f"bookinfo/bookinfo{part}.yaml" for part in ("", "-ratings-v2", "-details-v2")),
    *(f"{NETWORKING}/{name}.yaml" for name in ("bookinfo-gateway", "destination-rule-all-mtls")),
)
SCENES = {
    "httpbin": ("httpbin/httpbin.yaml", "httpbin/httpbin-gateway.yaml"),
    "helloworld": ("helloworld/helloworld.yaml", "helloworld/helloworld-gateway.yaml"),
    "tcp-echo": tuple(f"tcp-echo/tcp-echo-{part}.yaml" for part in ("services", "all-v1", "20-v2")),
    "bookinfo": (*BOOKINFO, f"{NETWORKING}/egress-rule-google-apis.yaml"),
}
LISTENERS = {
    "httpbin": "0.0.0.0_80",
    "helloworld": "0.0.0.0_80",
    "tcp-echo": "0.0.0.0_31400",
    "bookinfo": "0.0.0.0_8080",
}


def pod(
    name: str, ip: str, labels: dict[str, str], account: str, namespace: str = "default"
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**labels, "security.istio.io/tlsMode": "istio"},
        },
        "spec": {"serviceAccountName": account, "containers": []},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def deployed(documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A Pod for each Deployment."""
    hosts = itertools.count(10)
    for one in documents:
        if one["kind"] == "Deployment":
            template = one["spec"]["template"]
            account = template["spec"].get("serviceAccountName", "default")
            yield pod(
                one["metadata"]["name"], f"10.0.0.{next(hosts)}", template["metadata"]["labels"], account
            )


class Scene:
    """The files of a scene, applied to the namespace `default`, with a gateway in `istio-system`."""

    def __init__(self, files: Iterable[str]) -> None:
        found = [raw for file in files for raw in yaml.safe_load_all((SAMPLES / file).read_text()) if raw]
        self.pods = [*deployed(found)]
        edge = pod("edge", "10.0.0.9", {"istio": "ingressgateway"}, "edge", "istio-system")
        known = [raw for raw in (*found, *self.pods, edge) if raw["kind"] in BY_NAME]
        for raw in known:
            raw["metadata"].setdefault("namespace", "default")
        self.world = Traffic(yaml.safe_dump_all(known))
        self.written = [p for raw in known for p in BY_NAME[raw["kind"]].parse(raw).problems]

    @property
    def problems(self) -> list[str]:
        checked = (p for found in self.world.map(checks).values() for p in found)
        return [f"{p.kind} {p.name} {p.field}: {p.message}" for p in (*self.written, *checked)]

    def sidecar(self, raw: dict[str, Any]) -> ProxyView:
        return self._view("sidecar", raw)

    def gateway(self) -> ProxyView:
        return self._view(
            "router", pod("edge", "10.0.0.9", {"istio": "ingressgateway"}, "edge", "istio-system")
        )

    def _view(self, kind: str, raw: dict[str, Any]) -> ProxyView:
        meta, ip, account = raw["metadata"], raw["status"]["podIP"], raw["spec"]["serviceAccountName"]
        space = meta["namespace"]
        node = f"{kind}~{ip}~{meta['name']}.{space}~{space}.svc.cluster.local"
        metadata = {"NAMESPACE": space, "LABELS": meta["labels"], "SERVICE_ACCOUNT": account}
        return self.world.view(node, metadata, f"spiffe://cluster.local/ns/{space}/sa/{account}")


@pytest.fixture(scope="module")
def envoy() -> Path:
    try:
        return find_envoy(os.environ)
    except EnvironmentUnfit as missing:
        pytest.skip(str(missing))


def accepted(envoy: Path, scene: Scene, view: ProxyView, folder: Path) -> list[str]:
    """Have an Envoy check what a proxy is given; the names of its listeners."""
    routes = scene.world.routes(view)
    listeners = scene.world.listeners(view)
    config: dict[str, Any] = bootstrap(Node("10.0.0.1", "a-1", "default"), ControlPlane("127.0.0.1:15010"))
    config["static_resources"]["listeners"] = plain(inline(one, routes) for one in listeners.values())
    clusters = plain(scene.world.clusters(view).values())
    config["static_resources"]["clusters"] += [one for one in clusters if can_be_static(one)]
    check(envoy, config, folder)
    return sorted(listeners)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_scene(envoy: Path, name: str, tmp_path: Path) -> None:
    scene = Scene(SCENES[name])
    assert scene.problems == []
    assert accepted(envoy, scene, scene.gateway(), tmp_path) == [LISTENERS[name]]
    own = accepted(envoy, scene, scene.sidecar(scene.pods[-1]), tmp_path)
    assert {"virtualInbound", "virtualOutbound"} < {*own}


@pytest.mark.parametrize("file", sorted((SAMPLES / NETWORKING).glob("*.yaml")), ids=lambda file: file.stem)
def test_what_bookinfo_is_sent_through_finds_no_fault(file: Path) -> None:
    scene = Scene((*BOOKINFO, f"{NETWORKING}/{file.name}"))
    assert scene.problems == []


def test_a_fault_would_be_found() -> None:
    scene = Scene(["httpbin/httpbin-gateway.yaml"])
    assert [one for one in scene.problems if "there is no service httpbin" in one]
