"""What a client outside the mesh may try at a real gateway: headers that only Envoys send each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from controlplane.lab.fetch import Answer, Target, connect, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.issuer import Issuer

pytestmark = MARKS

ECHO = Path(__file__).parents[1] / "support" / "echo.py"
GATEWAY, APP, CLIENT = (f"10.244.0.{number}" for number in (10, 11, 12))
PORT = 8080
ISSUER = Issuer("testing@secure.istio.io")
MESH = f"""
kind: MeshConfig
accessLogFile: /dev/stdout
accessLogFormat: "%REQ(:PATH)% %RESPONSE_CODE_DETAILS% from=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\\n"
---
apiVersion: v1
kind: Service
metadata: {{name: edge, namespace: edge}}
spec:
  clusterIP: 10.96.0.20
  selector: {{istio: edge}}
  ports: [{{name: http, port: 80, targetPort: {PORT}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: gw, namespace: edge, labels: {{istio: edge}}}}
spec: {{serviceAccountName: edge, containers: [{{name: proxy}}]}}
status: {{podIP: {GATEWAY}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: app, namespace: prod}}
spec: {{clusterIP: 10.96.0.21, ports: [{{name: http, port: {PORT}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: app-a, namespace: prod, labels: {{kubernetes.io/service-name: app}}}}
addressType: IPv4
ports: [{{name: http, port: {PORT}}}]
endpoints: [{{addresses: [{APP}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: edge}}
spec:
  selector: {{istio: edge}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: prod}}
spec:
  hosts: ["app.example"]
  gateways: [edge/edge]
  http: [{{timeout: 3s, retries: {{attempts: 0}}, route: [{{destination: {{host: app}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: edge}}
spec:
  jwtRules:
  - issuer: {ISSUER.name}
    jwks: {json.dumps(ISSUER.jwks)}
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{{header: x-subject, claim: sub}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: blocks, namespace: edge}}
spec:
  action: DENY
  rules:
  - to: [{{operation: {{paths: ["/inside*"]}}}}]
    from: [{{source: {{notRemoteIpBlocks: ["192.0.2.0/24"]}}}}]
  - to: [{{operation: {{paths: ["/mine*"]}}}}]
    from: [{{source: {{notIpBlocks: ["192.0.2.0/24"]}}}}]
"""


class Scene:
    """A gateway, an application that tells what reached it, and a client outside."""

    def __init__(self, lab: Lab) -> None:
        self.plane: Plane = start_plane(lab.site, (), lab.house())
        (self.plane.config / "mesh.yaml").write_text(MESH)
        self.plane.wait_ready()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        edge = PodSpec("gw", "edge", GATEWAY, {"istio": "edge"}, "edge", kind="router")
        self.gateway: Pod = lab.start(edge, Sidecar(self.plane.secure, stats=("listener",), kubelet=kubelet))
        lab.start(PodSpec("app", "prod", APP, app=App(ECHO, (str(PORT),), port=PORT)), None)
        self.client: Pod = lab.start(PodSpec("client", "outside", CLIENT), None)
        lab.wait_ready()
        assert wait_until(lambda: self.get("/").status == 200, 40)

    def get(self, path: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        target = Target(self.client.netns, GATEWAY, PORT)
        return fetch(target, path, headers={"Host": "app.example", **named}, timeout=10.0)

    def seen(self, **headers: str) -> dict[str, Any]:
        """The headers that reach the application."""
        answer = self.get("/", **headers)
        assert answer.status == 200
        found: dict[str, Any] = answer.json()["headers"]
        return found

    def logged(self, path: str) -> bool:
        log = self.gateway.directory / "envoy.log"

        def there() -> bool:
            text = log.read_text(errors="replace")
            return re.search(rf"^{path} rbac_access_denied.* from={CLIENT}:", text, re.MULTILINE) is not None

        return wait_until(there, 40)


scene = scenes(Scene)


ORDERS = {
    "retries": {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "1000"},
    "a timeout": {"x-envoy-upstream-rq-timeout-ms": "999999"},
    "that it is internal": {"x-envoy-internal": "true"},
    "its address": {"x-envoy-external-address": "192.0.2.7"},
    "its cluster": {"x-envoy-downstream-service-cluster": "trusted"},
    "its node": {"x-envoy-downstream-service-node": "trusted"},
    "a hedge": {"x-envoy-hedge-on-per-try-timeout": "true"},
    "a certificate": {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/admin"},
    "a subject": {"x-subject": "admin"},
    "a payload": {"x-payload": "eyJzdWIiOiJhZG1pbiJ9"},
}


@pytest.mark.parametrize("name", ORDERS)
def test_what_only_envoys_say_is_not_believed_of_a_client(scene: Scene, name: str) -> None:
    found = scene.seen(**ORDERS[name])
    for header, value in ORDERS[name].items():
        assert value not in found.get(header, ""), header


@pytest.mark.attack
@pytest.mark.parametrize("path", ["/inside", "/mine"], ids=["remoteIpBlocks", "ipBlocks"])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-For", "192.0.2.7, 192.0.2.8"),
        ("X-Real-Ip", "192.0.2.7"),
        ("Forwarded", "for=192.0.2.7"),
        ("X-Envoy-External-Address", "192.0.2.7"),
        ("True-Client-Ip", "192.0.2.7"),
    ],
    ids=["forwarded for", "through another", "real", "standard", "external", "true"],
)
def test_a_client_that_says_it_has_another_address(scene: Scene, header: str, value: str, path: str) -> None:
    marked = f"{path}-{abs(hash((header, value)))}"
    assert scene.get(marked, **{header: value}).status == 403
    assert scene.logged(marked)


def test_a_gateway_is_no_proxy_for_anybody(scene: Scene) -> None:
    for line in (b"CONNECT 10.244.0.11:8080 HTTP/1.1", b"GET http://10.244.0.11:8080/ HTTP/1.1"):
        with connect(Target(scene.client.netns, GATEWAY, PORT), 5) as connection:
            connection.settimeout(5)
            connection.sendall(line + b"\r\nHost: 10.244.0.11:8080\r\n\r\n")
            assert connection.recv(4096)[:12] in (b"HTTP/1.1 403", b"HTTP/1.1 404")
    # It is passed on, and leads nowhere.
    assert scene.seen(X_Envoy_Original_Dst_Host="10.244.0.10:15000")["host"] == "app.example"


@pytest.mark.parametrize("port", [15000, 15001, 15004, 15006, 15020])
def test_a_gateways_own_ports(scene: Scene, port: int) -> None:
    with pytest.raises(OSError):
        fetch(Target(scene.client.netns, GATEWAY, port), "/config_dump", timeout=3.0)
