"""A real Envoy as a gateway: plaintext, redirects, and the policies that hold for it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from controlplane.lab.fetch import Target, answers, fetch
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.gateways import GATEWAY, INCREMENT, SAFE, Scene

pytestmark = MARKS

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(scene: Scene) -> Iterator[None]:
    yield
    scene.clear()


def test_a_prefix_and_an_exact_path(scene: Scene) -> None:
    assert scene.status("/") is None
    scene.write("increment", INCREMENT)
    assert scene.becomes(200, "/")
    answer = scene.get("/increment/22")
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"23")
    assert answer.headers["server"] == "istio-envoy"
    root = scene.get("/")
    assert root is not None
    assert root.body == b"numbers"
    assert scene.status("/elsewhere") == 404
    # Without the exact match there is nothing at the root.
    scene.write("increment", INCREMENT.replace("    - uri: {exact: /}\n", ""))
    assert scene.becomes(404, "/")
    assert scene.status("/increment/1") == 200


def test_who_calls_is_told_and_not_believed(scene: Scene) -> None:
    scene.write("increment", INCREMENT.replace("{exact: /}", "{prefix: /}"))
    assert scene.becomes(200, "/seen")
    target = Target(scene.client.netns, GATEWAY, 8080)
    forged = {"X-Forwarded-Client-Cert": "URI=spiffe://cluster.local/ns/x/sa/y", "X-Forwarded-For": "1.2.3.4"}
    seen = fetch(target, "/seen", headers=forged).json()
    assert "x-forwarded-client-cert" not in seen
    assert seen["x-forwarded-for"] == "1.2.3.4,10.244.0.13"
    assert seen["x-forwarded-proto"] == "http"


def test_readiness_is_answered_beside_all_that(scene: Scene) -> None:
    target = Target(scene.client.netns, GATEWAY, 15021)
    assert fetch(target, "/healthz/ready").status == 200


TWO_HOSTS = (
    INCREMENT.replace('hosts: ["*"]\n  gateways', "hosts: [numbers.example.com]\n  gateways")
    + """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: prod}
spec:
  hosts: [shop.example.com]
  gateways: [prod/devsecopsgateway]
  http: [{route: [{destination: {host: shop}}]}]
"""
)


def test_without_a_service_a_port_is_what_it_says(scene: Scene) -> None:
    target = Target(scene.client.netns, GATEWAY, 90)
    scene.write("low", INCREMENT.replace("number: 80,", "number: 90,"))
    assert wait_until(lambda: answers(target, "/"), 40)


def test_hosts_are_told_apart_and_nobodys_is_404(scene: Scene) -> None:
    scene.write("hosts", TWO_HOSTS)
    # A new listener may begin with routes that an Envoy has kept from one that is being drained.
    assert scene.becomes(404, "/", "nobodys.example.com")
    bodies = [scene.get("/", host) for host in ("shop.example.com:80", "NUMBERS.example.com")]
    assert [answer.body for answer in bodies if answer is not None] == [b"shop", b"numbers"]


def test_plaintext_is_sent_to_https(scene: Scene) -> None:
    scene.write(
        "redirect",
        INCREMENT.replace('hosts: ["*"]\n---', 'hosts: ["*"]\n    tls: {httpsRedirect: true}\n---'),
    )
    assert scene.becomes(301, "/increment/1", "shop.example.com")
    answer = scene.get("/increment/1?a=b", "shop.example.com")
    assert answer is not None
    assert answer.headers["location"] == "https://shop.example.com/increment/1?a=b"
    # That it was HTTPS before is not believed.
    forged = {"Host": "shop.example.com", "X-Forwarded-Proto": "https"}
    assert fetch(Target(scene.client.netns, GATEWAY, 8080), "/increment/1", headers=forged).status == 301


# -- policies -------------------------------------------------------------------------------------------


def test_tokens_are_checked_at_the_edge_and_then_demanded(scene: Scene) -> None:
    key = rsa.generate_private_key(65537, 2048)
    keys = {"keys": [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "one"}]}
    tokens = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: edge}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
  jwtRules: [{{issuer: "testing@example.com", jwks: '{json.dumps(keys)}'}}]
"""
    demand = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: demand, namespace: edge}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]
"""
    claims = {"iss": "testing@example.com", "sub": "jason", "exp": time.time() + 600}
    good = jwt.encode(claims, key, "RS256", headers={"kid": "one"})

    def status(token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return fetch(Target(scene.client.netns, GATEWAY, 8080), "/", headers=headers).status

    scene.write("increment", INCREMENT)
    scene.write("policies", tokens)
    assert scene.becomes(200, "/")
    assert wait_until(lambda: status("no.such.token") == 401, 40)
    assert (status(), status(good), status(good[:-8])) == (200, 200, 401)
    scene.write("policies", tokens + demand)
    assert scene.becomes(403, "/")
    assert (status(good), status("no.such.token")) == (200, 401)
    # A policy says nothing about pages that are not there to begin with.
    scene.write("policies", tokens)
    assert scene.becomes(200, "/")
    assert scene.status("/elsewhere") == 404


def test_a_gateway_speaks_mutual_tls_into_the_mesh(scene: Scene) -> None:
    strict = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: prod}
spec: {mtls: {mode: STRICT}}
"""
    scene.write(
        "safe", INCREMENT.replace("host: numbers", "host: safe").replace("exact: /", "prefix: /") + strict
    )
    assert scene.becomes(200, "/seen")
    # From outside the application cannot be had otherwise.
    assert wait_until(lambda: _refused(scene, SAFE), 40)
    answer = scene.get("/seen")
    assert answer is not None
    assert "URI=spiffe://cluster.local/ns/edge/sa/ingress" in answer.json()["x-forwarded-client-cert"]


@pytest.mark.parametrize(("namespace", "labels"), [("edge", "istio: ingressgateway"), ("prod", "app: safe")])
def test_an_address_that_a_caller_made_up_opens_and_closes_nothing(
    scene: Scene, namespace: str, labels: str
) -> None:
    """At the edge, and at a sidecar behind it, the address is that of the connection to the gateway."""

    def only(field: str, address: str) -> str:
        return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: only, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{{labels}}}}}
  rules: [{{from: [{{source: {{{field}: ["{address}"]}}}}]}}]
"""

    def forged() -> int:
        headers = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"}
        return fetch(Target(scene.client.netns, GATEWAY, 8080), "/", headers=headers).status

    scene.write("safe", INCREMENT.replace("host: numbers", "host: safe"))
    assert scene.becomes(200, "/")
    scene.write("only", only("remoteIpBlocks", "198.51.100.0/24"))
    assert scene.becomes(403, "/")
    assert forged() == 403
    scene.write("only", only("remoteIpBlocks", "10.244.0.13"))
    assert scene.becomes(200, "/")
    assert forged() == 200
    scene.write("only", only("notRemoteIpBlocks", "10.244.0.13"))
    assert scene.becomes(403, "/")
    assert forged() == 403
    # Whoever connects to a sidecar is the gateway; to the gateway it is the client.
    near, far = ("10.244.0.13", GATEWAY) if namespace == "edge" else (GATEWAY, "10.244.0.13")
    scene.write("only", only("ipBlocks", near))
    assert scene.becomes(200, "/")
    scene.write("only", only("ipBlocks", far))
    assert scene.becomes(403, "/")


def test_a_proxy_in_front_that_is_trusted_tells_who_calls(scene: Scene) -> None:
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only, namespace: edge}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  rules: [{from: [{source: {remoteIpBlocks: [198.51.100.0/24]}}]}]
"""
    redirecting = INCREMENT.replace('hosts: ["*"]\n---', 'hosts: ["*"]\n    tls: {httpsRedirect: true}\n---')

    def through(forwarded: str, **headers: str) -> int:
        said = {"X-Forwarded-For": forwarded, **headers}
        return fetch(Target(scene.client.netns, GATEWAY, 8080), "/", headers=said).status

    scene.write("numbers", redirecting)
    scene.write("only", policy)
    assert scene.becomes(403, "/")
    scene.mesh("defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}")
    try:
        assert wait_until(lambda: through("198.51.100.7") == 301, 40)
        # What that proxy was told itself counts as little as before.
        assert through("198.51.100.7, 203.0.113.9") == 403
        assert scene.status("/") == 403
        # And it may have ended TLS already.
        assert through("198.51.100.7", **{"X-Forwarded-Proto": "https"}) == 200
    finally:
        scene.mesh("{}")
    assert wait_until(lambda: through("198.51.100.7") == 403, 40)


def _refused(scene: Scene, address: str) -> bool:
    try:
        fetch(Target(scene.client.netns, address, 8080), "/")
    except (ConnectionError, http.client.HTTPException):
        return True
    return False
