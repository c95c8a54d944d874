"""Real Envoys fetch key sets by themselves: from a service of the mesh, and from an address that is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.pods import App, PodSpec
from tests.envoy.test_request_authentication import PLACES, Scene, bearer, policy, rule
from tests.support.envoys import MARKS, laboratory
from tests.support.issuer import Issuer

pytestmark = MARKS

TELLING = Path(__file__).parents[1] / "support" / "telling.py"
IDP = "10.244.0.20"

SERVICE = f"""
apiVersion: v1
kind: Service
metadata: {{name: idp, namespace: auth}}
spec: {{clusterIP: 10.96.0.30, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: idp-a, namespace: auth, labels: {{kubernetes.io/service-name: idp}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: [{IDP}], conditions: {{ready: true}}}}]
"""

URIS = {"service": "http://idp.auth.svc.cluster.local/keys", "address": f"http://{IDP}:8080/keys"}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer("https://idp.example")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Scene]:
    with laboratory(tmp_path_factory.mktemp("remote")) as lab:
        found = Scene(lab, "--jwt-enable-remote-jwks", "envoy")
        lab.start(PodSpec("idp", "auth", IDP, app=App(TELLING, (issuer.jwks, "8080"), port=8080)), None)
        lab.wait_ready()
        found.write("idp", SERVICE)
        yield found


@pytest.fixture
def scene(world: Scene) -> Iterator[Scene]:
    """No Envoy may have refused anything, and nothing is left for the next test."""
    yield world
    assert world.web.admin.rejected() == {}
    assert world.gateway.admin.rejected() == {}
    (world.plane.config / "policy.yaml").unlink()
    assert world.becomes(200, bearer("deadbeef"))


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("place", PLACES)
def test_a_proxy_fetches_its_keys(scene: Scene, issuer: Issuer, place: str, uri: str) -> None:
    scene.address, where, selector = PLACES[place]
    inline = Issuer("inline")
    scene.write(
        "policy", policy(rule(issuer, jwksUri=URIS[uri]), rule(inline), where=where, selector=selector)
    )
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.becomes(200, bearer(issuer.token()))
    assert scene.status() == 200
    assert scene.status(bearer(inline.token())) == 200
    assert scene.status(bearer(Issuer(issuer.name).token())) == 401
    pod = scene.gateway if place == "gateway" else scene.web
    assert any(count for count in pod.admin.stats("jwks_fetch_success").values())


def test_keys_that_cannot_be_fetched_fail_closed(scene: Scene, issuer: Issuer) -> None:
    scene.address = PLACES["sidecar"][0]
    scene.write("policy", policy(rule(issuer, jwksUri=f"http://{IDP}:9/keys")))
    assert scene.becomes(401, bearer("deadbeef"))
    assert scene.status(bearer(issuer.token())) == 401
    assert scene.status() == 200
