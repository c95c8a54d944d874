"""Real Envoys of two meshes, and of two networks: mutual TLS through a gateway that reads nothing of it."""

from __future__ import annotations

import socket

from controlplane.lab.fetch import Target, connect
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.two_meshes import DOOR, GATEWAY, GLOBAL_VIP, PATIENCE, PORT, VIP, Scene, gateway_pod

pytestmark = MARKS

scene = scenes(Scene)

GLOBAL, LOCAL = "httpbin.bar.global", "httpbin.bar.svc.cluster.local"


def test_one_mesh_calls_the_other_through_its_gateway(scene: Scene) -> None:
    answer = scene.answered(scene.far, GLOBAL_VIP, GLOBAL)
    told = answer.json()["headers"]["x-forwarded-client-cert"]
    # From end to end: the gateway between the two has shown nobody a certificate.
    assert "By=spiffe://cluster.local/ns/bar/sa/httpbin" in told
    assert "URI=spiffe://cluster.local/ns/foo/sa/sleep" in told
    assert scene.passed_on(f"outbound_.{PORT}_._.{GLOBAL}") > 0
    assert [pod.rejected() for pod in (scene.gateway, scene.far, scene.server)] == [{}, {}, {}]


def test_what_is_no_mutual_tls_of_the_mesh_is_turned_away(scene: Scene) -> None:
    scene.answered(scene.far, GLOBAL_VIP, GLOBAL)
    before = scene.passed_on(f"outbound_.{PORT}_._.{GLOBAL}")
    # The gateway knows no such cluster, and plaintext asks for none.
    with connect(Target(scene.gateway.netns, GATEWAY, 15443), 5.0) as raw:
        raw.settimeout(5.0)
        raw.sendall(b"GET / HTTP/1.1\r\nHost: httpbin.bar.global\r\n\r\n")
        assert ended(raw)
    assert scene.passed_on(f"outbound_.{PORT}_._.{GLOBAL}") == before


def ended(raw: socket.socket) -> bool:
    """Whether the other side closes or resets without a word."""
    try:
        return raw.recv(1024) == b""
    except ConnectionError:
        return True


def test_endpoints_of_another_network_are_reached_through_its_door(scene: Scene) -> None:
    name = f"outbound_.{PORT}_._.{LOCAL}"
    scene.answered(scene.near, VIP, LOCAL)
    # Without a door they are dialled directly.
    assert scene.passed_on(name) == 0
    scene.write("b", "door", DOOR)

    def through() -> bool:
        answer = scene.call(scene.near, VIP, LOCAL)
        return answer is not None and answer.status == 200 and scene.passed_on(name) > 0

    assert wait_until(through, PATIENCE)
    told = scene.answered(scene.near, VIP, LOCAL).json()["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://cluster.local/ns/bar/sa/sleep" in told
    assert scene.near.rejected() == {}


PLAIN = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: plain, namespace: edge}}
spec:
  selector: {{istio: eastwestgateway}}
  servers: [{{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: plain, namespace: edge}}
spec:
  hosts: ["*"]
  gateways: [plain]
  http: [{{route: [{{destination: {{host: {LOCAL}, port: {{number: {PORT}}}}}}}]}}]
"""


def test_the_proxy_protocol_says_who_calls(scene: Scene) -> None:
    scene.write("b", "plain", PLAIN)

    def ask(header: bytes) -> bytes:
        try:
            with connect(Target(scene.near.netns, GATEWAY, 8080), 5.0) as raw:
                raw.sendall(header + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                found = b""
                while part := raw.recv(65536):
                    found += part
                return found
        except OSError:
            return b""

    said = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8080\r\n"
    assert wait_until(lambda: b"200 OK" in ask(b""), PATIENCE), ask(b"")
    assert b"203.0.113.7" not in ask(b"")
    scene.write("b", "gateway", gateway_pod('{"gatewayTopology": {"proxyProtocol": {}}}'))
    assert wait_until(lambda: b'"x-forwarded-for": "203.0.113.7"' in ask(said), PATIENCE), ask(said)
    # Nobody may leave it out.
    assert b"200 OK" not in ask(b"")
    assert scene.gateway.rejected() == {}
