"""A real Envoy as a gateway: what the seeds' exercises ask of one, over plaintext and over TLS."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from controlplane.lab.fetch import Answer, Target, answers, connect, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, laboratory
from tests.support.servers import Issuer, Pair

pytestmark = MARKS

ISSUER = Issuer()
NUMERIC = Path(__file__).parents[1] / "support" / "numeric.py"
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
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.sock = wrapped
    connection.request("GET", path, headers={"Connection": "close"})
    response = connection.getresponse()
    return Secure(response.status, response.read(), int(str(shown["serialNumber"]), 16))


class Scene:
    """A gateway, two applications and a client, and the folder that says what they are."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.plane: Plane = start_plane(lab.site, (), lab.house())
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

    def becomes(self, status: int | None, path: str, host: str = "anything.example.com") -> bool:
        """Whether a request is answered so, soon."""
        return wait_until(lambda: self.status(path, host) == status, 10)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with laboratory(tmp_path_factory.mktemp("gateway")) as lab:
        yield Scene(lab)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test has the folder to itself, and no Envoy may have refused anything."""
    yield
    scene: Scene = request.getfixturevalue("scene")
    assert scene.gateway.admin.rejected() == {}
    for file in scene.plane.config.glob("*.yaml"):
        if file.name != "mesh.yaml":
            file.unlink()
    active = "listener_manager.total_listeners_active"
    # Those of readiness and statistics.
    assert wait_until(lambda: scene.gateway.admin.stats(active)[active] == 2, 10)


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
    assert wait_until(lambda: answers(target, "/"), 10)


def test_hosts_are_told_apart_and_nobodys_is_404(scene: Scene) -> None:
    scene.write("hosts", TWO_HOSTS)
    assert scene.becomes(200, "/", "shop.example.com")
    bodies = [scene.get("/", host) for host in ("shop.example.com:80", "NUMBERS.example.com")]
    assert [answer.body for answer in bodies if answer is not None] == [b"shop", b"numbers"]
    assert scene.status("/", "nobodys.example.com") == 404


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


# -- TLS ------------------------------------------------------------------------------------------------


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


def test_tls_ends_at_the_gateway_with_the_certificate_of_the_host(scene: Scene) -> None:
    shop, numbers = ISSUER.issue("shop.example.com"), ISSUER.issue("numbers.example.com")
    scene.write("secrets", shop.secret("shop-tls") + numbers.secret("numbers-tls"))
    scene.write(
        "https",
        secure_gateway("shop.example.com", "shop-tls")
        + secure_gateway("numbers.example.com", "numbers-tls", app="numbers"),
    )
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 10)
    for host, pair in (("shop.example.com", shop), ("numbers.example.com", numbers)):
        answer = scene.secure(host, ISSUER)
        assert answer == (200, host.partition(".")[0].encode(), pair.serial)
    # A name that nobody serves is turned away, and so is who knows another authority.
    assert scene.secure("other.example.com", ISSUER) is None
    with pytest.raises(ssl.SSLCertVerificationError):
        scene.secure("shop.example.com", Issuer())
    # Who asks for no name finds nobody either.
    assert scene.secure(GATEWAY, ISSUER) is None
    assert fetch(Target(scene.client.netns, GATEWAY, 15021), "/healthz/ready").status == 200


def test_a_renewed_secret_is_shown_and_drops_no_connection(scene: Scene) -> None:
    old, new = ISSUER.issue("shop.example.com"), ISSUER.issue("shop.example.com")
    scene.write("secrets", old.secret("shop-tls"))
    scene.write("https", secure_gateway("shop.example.com", "shop-tls"))
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 10)
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    raw = connect(Target(scene.client.netns, GATEWAY, 8443), 5)
    with raw, context.wrap_socket(raw, server_hostname="shop.example.com") as wrapped:
        kept = http.client.HTTPConnection("shop.example.com", timeout=5)
        kept.sock = wrapped
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"shop"
        before = scene.gateway.admin.stats("listener_manager.listener_(modified|in_place_updated|added)")
        scene.write("secrets", new.secret("shop-tls"))

        def shown() -> int | None:
            answer = scene.secure("shop.example.com", ISSUER)
            return None if answer is None else answer.serial

        assert wait_until(lambda: shown() == new.serial, 10)
        # The connection that was open is open.
        kept.request("GET", "/")
        assert kept.getresponse().read() == b"shop"
    after = scene.gateway.admin.stats("listener_manager.listener_(modified|in_place_updated|added)")
    assert after == before


def test_a_missing_secret_hurts_its_own_server_only(scene: Scene) -> None:
    shop, numbers = ISSUER.issue("shop.example.com"), ISSUER.issue("numbers.example.com")
    # The Gateway is of another namespace than the proxy; the Secret must be of the proxy's.
    scene.write("secrets", shop.secret("shop-tls") + numbers.secret("numbers-tls", namespace="prod"))
    scene.write(
        "https",
        secure_gateway("shop.example.com", "shop-tls")
        + secure_gateway("numbers.example.com", "numbers-tls", app="numbers"),
    )
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 10)
    assert scene.secure("numbers.example.com", ISSUER) is None
    scene.write("more", numbers.secret("numbers-tls"))
    assert wait_until(lambda: scene.secure("numbers.example.com", ISSUER) is not None, 10)
    (scene.plane.config / "secrets.yaml").unlink()
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is None, 10)
    assert scene.secure("numbers.example.com", ISSUER) == (200, b"numbers", numbers.serial)


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
    assert wait_until(lambda: status("no.such.token") == 401, 10)
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
    assert wait_until(lambda: _refused(scene, SAFE), 10)
    answer = scene.get("/seen")
    assert answer is not None
    assert "URI=spiffe://cluster.local/ns/edge/sa/ingress" in answer.json()["x-forwarded-client-cert"]


def _refused(scene: Scene, address: str) -> bool:
    try:
        fetch(Target(scene.client.netns, address, 8080), "/")
    except (ConnectionError, http.client.HTTPException):
        return True
    return False


def test_a_gateway_may_ask_clients_for_certificates(scene: Scene) -> None:
    clients = Issuer("clients")
    shop, jason = ISSUER.issue("shop.example.com"), clients.issue("jason")
    scene.write("secrets", shop.secret("shop-tls", authorities=clients.certificate))
    text = secure_gateway("shop.example.com", "shop-tls").replace("SIMPLE", "MUTUAL")
    scene.write("https", text)
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER, pair=jason) is not None, 10)
    answer = scene.secure("shop.example.com", ISSUER, "/seen", pair=jason)
    assert answer is not None
    assert 'Subject="CN=jason"' in json.loads(answer.body)["x-forwarded-client-cert"]
    for stranger in (None, ISSUER.issue("jason")):
        assert scene.secure("shop.example.com", ISSUER, pair=stranger) is None


# -- connections that the gateway does not read ---------------------------------------------------------

OPAQUE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: opaque, namespace: prod}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 31400, name: tcp, protocol: TCP}
    hosts: ["*"]
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: [vault.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: opaque, namespace: prod}
spec:
  hosts: ["*"]
  gateways: [opaque]
  tcp: [{match: [{port: 31400}], route: [{destination: {host: numbers, port: {number: 8080}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vault, namespace: prod}
spec:
  hosts: [vault.example.com]
  gateways: [opaque]
  tls:
  - match: [{port: 443, sniHosts: [vault.example.com]}]
    route: [{destination: {host: vault, port: {number: 8080}}}]
"""


def test_tls_is_passed_on_beside_tls_that_ends_and_tcp_goes_on_as_it_is(scene: Scene) -> None:
    shop = ISSUER.issue("shop.example.com")
    scene.write("secrets", shop.secret("shop-tls"))
    scene.write("opaque", OPAQUE)
    scene.write("https", secure_gateway("shop.example.com", "shop-tls"))
    assert wait_until(lambda: scene.secure("vault.example.com", ISSUER) is not None, 10)
    assert scene.secure("vault.example.com", ISSUER) == (200, b"vault", scene.vault.serial)
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 10)
    assert scene.secure("shop.example.com", ISSUER) == (200, b"shop", shop.serial)
    answer = fetch(Target(scene.client.netns, GATEWAY, 31400), "/increment/1")
    assert answer.body == b"2"
    # Nobody of the mesh has read it.
    assert "x-request-id" not in fetch(Target(scene.client.netns, GATEWAY, 31400), "/seen").json()


# What the fourth of the seeds asks for: what leaves the mesh leaves it in one place.
LEAVING = f"""
apiVersion: v1
kind: Service
metadata: {{name: istio-egressgateway, namespace: edge}}
spec:
  clusterIP: 10.96.0.21
  selector: {{istio: egressgateway}}
  ports: [{{name: tls, port: 443, targetPort: 8443}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: egress, namespace: edge, labels: {{istio: egressgateway}}}}
spec: {{serviceAccountName: egress, containers: [{{name: proxy}}]}}
status: {{podIP: {EGRESS}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: istio-egressgateway-a
  namespace: edge
  labels: {{kubernetes.io/service-name: istio-egressgateway}}
addressType: IPv4
ports: [{{name: tls, port: 8443}}]
endpoints: [{{addresses: [{EGRESS}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: vault, namespace: prod}}
spec:
  hosts: [vault.example.com]
  ports: [{{number: 443, name: tls, protocol: TLS}}]
  resolution: STATIC
  endpoints: [{{address: {VAULT}, ports: {{tls: 8080}}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: leaving, namespace: prod}}
spec:
  selector: {{istio: egressgateway}}
  servers:
  - port: {{number: 443, name: tls, protocol: TLS}}
    tls: {{mode: PASSTHROUGH}}
    hosts: [vault.example.com]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: leaving, namespace: prod}}
spec:
  host: istio-egressgateway.edge.svc.cluster.local
  subsets: [{{name: vault}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: leaving, namespace: prod}}
spec:
  hosts: [vault.example.com]
  gateways: [leaving, mesh]
  tls:
  - match: [{{gateways: [mesh], port: 443, sniHosts: [vault.example.com]}}]
    route:
    - destination: {{host: istio-egressgateway.edge.svc.cluster.local, subset: vault, port: {{number: 443}}}}
  - match: [{{gateways: [leaving], port: 443, sniHosts: [vault.example.com]}}]
    route: [{{destination: {{host: vault.example.com, port: {{number: 443}}}}}}]
"""


def test_what_leaves_the_mesh_leaves_it_through_the_egress_gateway(scene: Scene) -> None:
    sidecar = scene.safe.sidecar
    assert sidecar is not None
    spec = PodSpec("egress", "edge", EGRESS, {"istio": "egressgateway"}, "egress", kind="router")
    egress = scene.lab.start(spec, replace(sidecar, stats=("cluster.outbound", "cluster_manager")))
    scene.lab.wait_ready()
    counted = "upstream_cx_total"

    def leaves() -> bool:
        try:
            # Redirected to the sidecar, which goes by the name that is asked for.
            answer = scene.secure("vault.example.com", ISSUER, at=Target(scene.safe.netns, "10.96.9.9", 443))
        except OSError:
            return False
        through = egress.admin.stats(counted).get(f"cluster.outbound|443||vault.example.com;.{counted}", 0)
        return answer == (200, b"vault", scene.vault.serial) and through > 0

    scene.write("leaving", LEAVING)
    try:
        assert wait_until(leaves, 10), egress.admin.stats(counted)
        assert egress.admin.rejected() == {}
    finally:
        scene.lab.delete(egress)
