"""Where a Sidecar, or the node itself, puts listeners: what is dialled there arrives where it should.

client  redirected   egress at loopback ports, at a socket, as an HTTP proxy; imports its namespace alone
bare    NONE         ingress on 8080 before the application's 9080; egress is dialled at 127.0.0.1
vault   redirected   ends TLS of its own on 8443
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from controlplane.lab.fetch import Target, connect, fetch
from controlplane.lab.pods import Lab
from tests.support.envoys import MARKS, scenes
from tests.support.residents import Resident, pod, web
from tests.support.servers import Issuer
from tests.support.town import Town

pytestmark = MARKS

ISSUER = Issuer()
BARE, VAULT = "10.244.0.12", "10.244.0.13"
NODE = {"INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": "15007", "HTTP10": "true"}

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{mesh: "on"}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{mesh: "on"}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: shop}}
spec:
  clusterIP: 10.96.0.1
  selector: {{app: server}}
  ports: [{{name: http, port: 8000}}, {{name: tcp, port: 9001, targetPort: 8000}}]
---
apiVersion: v1
kind: Service
metadata: {{name: bare, namespace: shop}}
spec: {{clusterIP: 10.96.0.2, selector: {{app: bare}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: far, namespace: dark}}
spec: {{clusterIP: 10.96.0.3, selector: {{app: far}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  outboundTrafficPolicy: {{mode: REGISTRY_ONLY}}
  egress:
  - {{port: {{number: 9001, protocol: TCP, name: tcp}}, captureMode: NONE, hosts: ["./*"]}}
  - {{port: {{number: 15080, protocol: HTTP_PROXY, name: proxy}}, captureMode: NONE, hosts: ["./*"]}}
  - {{port: {{protocol: HTTP, name: web}}, bind: "unix://{sockets}/web.sock", hosts: ["./*"]}}
  - {{hosts: ["./*"]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: bare, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: bare}}}}
  ingress: [{{port: {{number: 8080, protocol: HTTP, name: http}}, defaultEndpoint: "127.0.0.1:9080"}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: vault, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: vault}}}}
  ingress:
  - port: {{number: 8443, protocol: HTTPS, name: https}}
    defaultEndpoint: "127.0.0.1:8000"
    tls: {{mode: SIMPLE, serverCertificate: {chain}, privateKey: {key}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: vault, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: vault}}}}, portLevelMtls: {{8443: {{mode: DISABLE}}}}}}
"""


def node(one: Resident, **metadata: str) -> Resident:
    """The same, and what its Envoy says of itself."""
    return replace(one, spec=replace(one.spec, metadata=metadata))


def build(lab: Lab) -> Town:
    made = ISSUER.issue("vault.example.com")
    sockets = lab.directory / "sockets"
    sockets.mkdir()
    sockets.chmod(0o777)
    files = {"chain": lab.directory / "vault.crt", "key": lab.directory / "vault.key"}
    for file, content in zip(files.values(), (made.chain, made.key), strict=True):
        file.write_bytes(content)
        file.chmod(0o644)
    residents = (
        pod("client", "shop", 10),
        pod("server", "shop", 11, web("server", 8000)),
        node(pod("bare", "shop", 12, web("bare", 9080)), **NODE),
        node(pod("vault", "shop", 13, web("vault", 8000)), HTTP10="true"),
        pod("far", "dark", 14, web("far", 8000)),
        pod("stranger", "shop", 15, meshed=False),
    )
    objects = OBJECTS.format(sockets=sockets, **files)
    return Town(lab, residents, objects, "--tls-on-sidecar-ingress", "true")


town = scenes(build)


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()


def test_a_port_at_the_loopback_address(town: Town) -> None:
    reply = town.call("client", "127.0.0.1", port=9001, host="whatever")
    assert (reply.status, reply.server) == (200, "server")
    assert town.stat("client", r"cluster\.outbound\|9001\|\|server.*upstream_cx_total$") == 1


def proxied(town: Town, who: str, port: int, url: str) -> tuple[int, str]:
    """What an HTTP proxy at the loopback address answers to a URL: status and server."""
    netns = town.lab.pods[who].netns
    host = url.split("/")[2]
    answer = fetch(Target(netns, "127.0.0.1", port), url, headers={"Host": host}, timeout=20.0)
    return answer.status, answer.headers.get("x-server", "")


def test_the_sidecar_as_an_http_proxy(town: Town) -> None:
    for who, port in (("client", 15080), ("bare", 15007)):
        assert proxied(town, who, port, "http://server:8000/") == (200, "server")
        assert proxied(town, who, port, "http://server.shop.svc.cluster.local:8000/a") == (200, "server")
        # A service without port 80 is found without one as well; 9001 is no HTTP.
        assert proxied(town, who, port, "http://server/") == (200, "server")
        assert proxied(town, who, port, "http://bare.shop/") == (200, "bare")
    assert proxied(town, "client", 15080, "http://server:9001/") == (502, "")
    assert proxied(town, "client", 15080, "http://far.dark:8000/") == (502, "")
    assert proxied(town, "bare", 15007, "http://far.dark:8000/") == (200, "far")


def test_a_socket_in_the_file_system(town: Town) -> None:
    connection = http.client.HTTPConnection("server:8000")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(town.lab.directory / "sockets" / "web.sock"))
    connection.request("GET", "/", headers={"Host": "server:8000", "Connection": "close"})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-server")) == (200, "server")
    connection.close()


def test_what_is_not_imported_is_not_reachable(town: Town) -> None:
    assert town.call("client", "server.shop", port=8000).server == "server"
    assert town.stat("client", r"cluster\.outbound.*far\.dark.*membership_total") == 0
    assert town.call("client", "far.dark", port=8000).status == 502
    # Nor at an address that nobody listens for.
    assert town.call("client", "10.96.0.3", port=8001).status == 0
    assert town.call("client", "server.shop", port=8000, host="far.dark").status == 502
    assert town.call("bare", "127.0.0.1", port=8000, host="far.dark").server == "far"


def test_callers_dial_an_ingress_listener(town: Town) -> None:
    by_service = town.call("client", "bare.shop")
    assert (by_service.status, by_service.server) == (200, "bare")
    # From its sidecar, which speaks mutual TLS: the application is told who called.
    assert "spiffe://cluster.local/ns/shop" in by_service.body["headers"]["x-forwarded-client-cert"]
    plain = town.call("stranger", BARE, port=8080)
    assert (plain.status, plain.server) == (200, "bare")
    assert plain.headers["server"] == "istio-envoy"


def test_who_is_not_redirected_dials_the_loopback_address(town: Town) -> None:
    assert town.call("bare", "127.0.0.1", port=8000, host="server.shop").server == "server"
    assert town.call("bare", "127.0.0.1", port=9001, host="x").server == "server"
    told = fetch(town.lab.pods["bare"].admin.target, "/listeners?format=json").json()
    listeners = {found["name"] for found in told["listener_statuses"]}
    assert listeners >= {"127.0.0.1_8000", "127.0.0.1_9001", "127.0.0.1_15007", f"{BARE}_8080"}
    assert not listeners & {"virtualOutbound", "virtualInbound"}


def says(town: Town, who: str, where: str, port: int, text: bytes) -> bytes:
    """The first line that comes back; b"" where the connection is refused."""
    with connect(Target(town.lab.pods[who].netns, where, port), 5.0) as raw:
        raw.sendall(text)
        try:
            return raw.makefile("rb").readline()
        except ConnectionResetError:
            return b""


def test_http10_is_understood_where_the_node_says_so(town: Town) -> None:
    request = b"GET / HTTP/1.0\r\nHost: server.shop\r\n\r\n"
    assert b" 200 " in says(town, "bare", "127.0.0.1", 8000, request)
    assert b" 200 " in says(town, "vault", "10.96.0.1", 8000, request)
    # Elsewhere it is no HTTP: nobody is asked for it.
    assert says(town, "client", "10.96.0.1", 8000, request) == b""


def test_a_sidecar_ends_the_workloads_own_tls(town: Town) -> None:
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    with (
        connect(Target(town.lab.pods["stranger"].netns, VAULT, 8443), 5.0) as raw,
        context.wrap_socket(raw, server_hostname="vault.example.com") as wrapped,
    ):
        wrapped.sendall(b"GET / HTTP/1.1\r\nHost: vault.example.com\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: wrapped.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200") and b"x-server: vault" in answer
    # Who speaks no TLS is not let through to the application.
    assert town.call("stranger", VAULT, port=8443).status == 0


def test_a_namespace_out_of_sight_is_not_there(town: Town) -> None:
    assert proxied(town, "bare", 15007, "http://far.dark:8000/")[0] == 200
    town.mesh("discoverySelectors: [{matchLabels: {mesh: 'on'}}]")
    pattern = r"cluster\.outbound.*far\.dark.*membership_total"
    town.becomes(0, lambda: town.stat("bare", pattern))
    assert proxied(town, "bare", 15007, "http://far.dark:8000/")[0] == 503
    assert proxied(town, "bare", 15007, "http://server:8000/")[0] == 200
    town.mesh("")
    town.becomes(1, lambda: town.stat("bare", pattern))
    assert proxied(town, "bare", 15007, "http://far.dark:8000/") == (200, "far")
