"""A gateway, applications behind it, one of them with a sidecar, and a client outside: a scene for tests."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import NamedTuple

from controlplane.lab.fetch import Answer, Target, connect, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from tests.support.servers import Issuer, Pair

ISSUER = Issuer()
NUMERIC = Path(__file__).parent / "numeric.py"
GATEWAY, SHOP, NUMBERS, SAFE, VAULT, EGRESS = (f"10.244.0.{number}" for number in (10, 11, 12, 14, 15, 16))

MESH = f"""
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: edge}}
spec:
  clusterIP: 10.96.0.20
  selector: {{istio: ingressgateway}}
  ports:
  - {{name: http, port: 80, targetPort: 8080}}
  - {{name: https, port: 443, targetPort: 8443}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gw, namespace: edge, labels: {{istio: ingressgateway}}}}
spec: {{serviceAccountName: ingress, containers: [{{name: proxy}}]}}
status: {{podIP: {GATEWAY}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""

MESHED = f"""---
apiVersion: v1
kind: Pod
metadata:
  name: safe
  namespace: prod
  labels: {{app: safe, security.istio.io/tlsMode: istio}}
spec: {{serviceAccountName: safe, containers: [{{name: app}}]}}
status: {{podIP: {SAFE}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""


def backend(name: str, address: str) -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: prod}}
spec:
  clusterIP: 10.96.1.{address.rpartition(".")[2]}
  ports: [{{name: http, port: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-a, namespace: prod, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
- addresses: [{address}]
  conditions: {{ready: true}}
  targetRef: {{kind: Pod, name: {name}, namespace: prod}}
"""


class Secure(NamedTuple):
    """An answer over TLS, and the serial number of the certificate that was shown."""

    status: int
    body: bytes
    serial: int


def _ask(wrapped: ssl.SSLSocket, host: str, path: str) -> Secure:
    shown = wrapped.getpeercert()
    assert shown is not None
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.sock = wrapped
    connection.request("GET", path, headers={"Connection": "close"})
    response = connection.getresponse()
    return Secure(response.status, response.read(), int(str(shown["serialNumber"]), 16))


class Scene:
    """A gateway, two applications and a client, and the folder that says what they are."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._mesh = lab.directory / "mesh-config.yaml"
        self.mesh("{}")
        self.plane: Plane = start_plane(lab.site, ("--mesh-config", str(self._mesh)), lab.house())
        backends = (
            backend("shop", SHOP)
            + backend("numbers", NUMBERS)
            + backend("safe", SAFE)
            + backend("vault", VAULT)
        )
        self.write("mesh", MESH + backends + MESHED)
        self.plane.wait_ready()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        sidecar = Sidecar(self.plane.secure, stats=("listener", "cluster_manager"), kubelet=kubelet)
        labels = {"istio": "ingressgateway"}
        gateway = PodSpec("gw", "edge", GATEWAY, labels, "ingress", kind="router")
        self.gateway: Pod = lab.start(gateway, sidecar)
        for name, address in (("shop", SHOP), ("numbers", NUMBERS)):
            app = App(NUMERIC, (name, "8080"), port=8080)
            lab.start(PodSpec(name, "prod", address, app=app), None)
        self.client: Pod = lab.start(PodSpec("client", "outside", "10.244.0.13"), None)
        safe = PodSpec(
            "safe", "prod", SAFE, {"app": "safe"}, "safe", app=App(NUMERIC, ("safe", "8080"), port=8080)
        )
        self.safe: Pod = lab.start(safe, sidecar)
        self.vault = ISSUER.issue("vault.example.com")
        pem = lab.directory / "vault.pem"
        pem.write_bytes(self.vault.chain + self.vault.key)
        pem.chmod(0o644)
        lab.start(PodSpec("vault", "prod", VAULT, app=App(NUMERIC, ("vault", "8080", str(pem)))), None)
        lab.wait_ready()

    def write(self, name: str, text: str) -> None:
        """Put a file of objects into the watched folder, or replace it at once."""
        new = self.lab.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.plane.config / f"{name}.yaml")

    def mesh(self, text: str) -> None:
        """Say what the MeshConfig is from now on."""
        new = self._mesh.with_suffix(".new")
        new.write_text(text)
        new.rename(self._mesh)

    def delete(self, name: str) -> None:
        (self.plane.config / f"{name}.yaml").unlink()

    def get(self, path: str, host: str = "anything.example.com", port: int = 8080) -> Answer | None:
        """One request of the client to the gateway; None where nobody takes it."""
        target = Target(self.client.netns, GATEWAY, port)
        try:
            return fetch(target, path, headers={"Host": host})
        except ConnectionError:
            return None

    def status(self, path: str, host: str = "anything.example.com", port: int = 8080) -> int | None:
        answer = self.get(path, host, port)
        return None if answer is None else answer.status

    def secure(
        self,
        host: str,
        issuer: Issuer,
        path: str = "/",
        *,
        pair: Pair | None = None,
        at: Target | None = None,
    ) -> Secure | None:
        """One request over TLS that asks for a host and checks its certificate; None where it is refused."""
        context = ssl.create_default_context(cadata=issuer.certificate.decode())
        if pair is not None:
            own = self.lab.directory / "client.pem"
            own.write_bytes(pair.chain + pair.key)
            context.load_cert_chain(own)
        try:
            raw = connect(at or Target(self.client.netns, GATEWAY, 8443), 5)
            with raw, context.wrap_socket(raw, server_hostname=host) as wrapped:
                return _ask(wrapped, host, path)
        except ssl.SSLCertVerificationError:
            raise
        except (ConnectionError, ssl.SSLError):
            return None

    def clear(self) -> None:
        """Take away what a test has written, and wait until the gateway has; it may have refused nothing."""
        assert self.gateway.admin.rejected() == {}
        for file in self.plane.config.glob("*.yaml"):
            if file.name != "mesh.yaml":
                file.unlink()
        active = "listener_manager.total_listeners_active"
        # Those of readiness and statistics.
        assert wait_until(lambda: self.gateway.admin.stats(active)[active] == 2, 40)

    def becomes(self, status: int | None, path: str, host: str = "anything.example.com") -> bool:
        """Whether a request is answered so, soon."""
        return wait_until(lambda: self.status(path, host) == status, 40)


# What the first of the seeds asks for.
INCREMENT = """
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: devsecopsgateway, namespace: prod}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: devsecopsnumeric, namespace: prod}
spec:
  hosts: ["*"]
  gateways: [devsecopsgateway]
  http:
  - match:
    - uri: {prefix: /increment}
    - uri: {exact: /}
    route: [{destination: {host: numbers, port: {number: 8080}}}]
"""


def secure_gateway(host: str, credential: str, *, name: str = "", app: str = "shop") -> str:
    """What the third of the seeds asks for: HTTPS for a host, with a certificate from a Secret."""
    name = name or host.partition(".")[0]
    return f"""---
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {{name: {name}, namespace: prod}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: 443, name: https-443, protocol: HTTPS}}
    tls: {{mode: SIMPLE, credentialName: {credential}}}
    hosts: [{host}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {{name: {name}, namespace: prod}}
spec:
  hosts: [{host}]
  gateways: [{name}]
  http: [{{route: [{{destination: {{host: {app}, port: {{number: 8080}}}}}}]}}]
"""
