"""The control plane's ports as a pod reaches them: the debug paths, and plaintext where there is none."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import pytest

from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Wish
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.plane import MONITORING_PORT, SECURE_PORT, Plane, start_plane
from controlplane.lab.pods import Lab, Pod, PodSpec, Sidecar
from controlplane.lab.tokens import minter
from tests.support.envoys import MARKS, laboratory

pytestmark = MARKS


class Mesh:
    """A control plane whose monitoring port is open to the fabric, a sidecar, and a pod to ask from."""

    def __init__(self, lab: Lab) -> None:
        house = lab.house()
        flags = ("--monitoring-addr", f"0.0.0.0:{MONITORING_PORT}")
        self.plane: Plane = start_plane(lab.site, flags, house)
        self.plane.wait_ready()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        spec = PodSpec("web-1", "prod", "10.244.0.10", {"app": "web"}, "web")
        self.web: Pod = lab.start(spec, Sidecar(self.plane.secure, "DELTA_GRPC", (), kubelet))
        self.asker: Pod = lab.start(PodSpec("asker", "prod", "10.244.0.11"), None)
        lab.wait_ready(20.0)
        self.ip = house.ip

    def token(self, namespace: str, audience: str = "debug") -> str:
        wish = Wish(namespace, "looker", 600.0, audience)
        return TokenStore(self.plane.data).issue(wish, time.time())[0]

    def get(self, path: str, token: str = "", **headers: str) -> int:
        """The status that a pod without a sidecar is answered with."""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        target = Target(self.asker.netns, self.ip, MONITORING_PORT)
        return fetch(target, path, headers=headers).status


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with laboratory(tmp_path_factory.mktemp("debug")) as lab:
        yield Mesh(lab)


def test_a_pod_sees_nothing_without_a_token(mesh: Mesh) -> None:
    for path in ("/ready", "/metrics", "/version"):
        assert mesh.get(path) == 200, path
    for path in (
        "/debug",
        "/debug/configz",
        "/debug/syncz",
        "/debug/config_dump?proxyID=web-1.prod",
        "/debug/ca",
    ):
        assert mesh.get(path) == 401, path
        # Saying that one is from there does not help.
        assert mesh.get(path, Host="127.0.0.1:15014") == 401, path
        assert mesh.get(path, **{"X-Forwarded-For": "127.0.0.1"}) == 401, path


def test_a_pod_sees_what_its_token_is_good_for(mesh: Mesh) -> None:
    root, own, other = (mesh.token(namespace) for namespace in ("istio-system", "prod", "dev"))
    dump = "/debug/config_dump?proxyID=web-1.prod"
    assert [mesh.get(dump, token) for token in (root, own, other)] == [200, 200, 403]
    assert [mesh.get("/debug/syncz", token) for token in (root, own, other)] == [200, 403, 403]
    assert mesh.get("/debug/syncz", mesh.token("istio-system", audience="kubernetes")) == 401


def test_a_pod_gets_nothing_in_plaintext_from_the_port_for_tls(mesh: Mesh) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(Target(mesh.asker.netns, mesh.ip, SECURE_PORT), "/debug/configz")
    with pytest.raises(OSError):
        fetch(Target(mesh.asker.netns, mesh.ip, 15010), "/")
