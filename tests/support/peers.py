"""The seeds' namespaces: foo and bar with sidecars, legacy without, each with a server and a client."""

from __future__ import annotations

import http.client
from pathlib import Path

from controlplane.lab.fetch import Target, connect, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until

HTTPBIN = Path(__file__).parent / "httpbin.py"
HTTP, TCP, TLS, FOUND_OUT, UNNAMED = 8000, 9000, 9443, 7000, 5000
NAMESPACES = ("foo", "bar", "legacy")
VIPS = {"foo": "10.96.0.1", "bar": "10.96.0.2", "legacy": "10.96.0.3"}
SERVERS = {"foo": "10.244.0.11", "bar": "10.244.0.12", "legacy": "10.244.0.13"}
CLIENTS = {"foo": "10.244.0.21", "bar": "10.244.0.22", "legacy": "10.244.0.23"}
PATIENCE = 40.0

# Nothing that begins like this is a method, for which an inspector would wait.
NO_HTTP = b"\x00hello"

MUTUAL, PLAINTEXT, REFUSED = "mutual TLS", "plaintext", "refused"


def objects(namespace: str) -> str:
    label = ", security.istio.io/tlsMode: istio" if namespace != "legacy" else ""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: httpbin, namespace: {namespace}}}
spec:
  clusterIP: {VIPS[namespace]}
  selector: {{app: httpbin}}
  ports:
  - {{name: http, port: {HTTP}}}
  - {{name: tcp, port: {TCP}}}
  - {{name: tls, port: {TLS}}}
  - {{name: found-out, port: {FOUND_OUT}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: httpbin-{namespace}, namespace: {namespace}, labels: {{app: httpbin{label}}}}}
spec: {{serviceAccountName: httpbin}}
status: {{podIP: {SERVERS[namespace]}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""


def policy(namespace: str, mode: str, rest: str = "", name: str = "default") -> str:
    return f"""---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{mtls: {{mode: {mode}}}{rest}}}
"""


def rule(namespace: str, host: str, spec: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: rule, namespace: {namespace}}}
spec: {{host: {host}, trafficPolicy: {{{spec}}}}}
"""


OBJECTS = "".join(map(objects, NAMESPACES))
STRICT = policy("istio-system", "STRICT")


class Scene:
    """The pods, and a folder that says what they are."""

    def __init__(self, lab: Lab, identified: bool = True) -> None:
        """`identified`: who asks on the socket is who he says he is; it is not identity that is tested."""
        self.lab = lab
        said = ("--trust-loopback-identities", "true") if identified else ()
        self.plane: Plane = start_plane(lab.site, said)
        self.write("mesh", OBJECTS)
        self.plane.wait_ready()
        self.servers: dict[str, Pod] = {}
        self.clients: dict[str, Pod] = {}
        sidecar = Sidecar(self.plane.address, stats=("listener", "cluster.outbound", "http.inbound", "ssl"))
        app = App(HTTPBIN, tuple(map(str, (HTTP, TCP, TLS, FOUND_OUT, UNNAMED))), port=HTTP)
        for namespace in NAMESPACES:
            own = None if namespace == "legacy" else sidecar
            server = PodSpec(
                f"httpbin-{namespace}",
                namespace,
                SERVERS[namespace],
                {"app": "httpbin"},
                "httpbin",
                app=app,
            )
            self.servers[namespace] = lab.start(server, own)
            client = PodSpec(f"sleep-{namespace}", namespace, CLIENTS[namespace], service_account="sleep")
            self.clients[namespace] = lab.start(client, own)
        lab.wait_ready()

    def write(self, name: str, text: str) -> None:
        """Put a file of objects into the watched folder, or replace it at once."""
        new = self.lab.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.plane.config / f"{name}.yaml")

    def target(self, client: str, server: str, port: int) -> Target:
        """Where a client dials; without a sidecar nobody knows of virtual addresses."""
        ip = SERVERS[server] if client == "legacy" or port == UNNAMED else VIPS[server]
        return Target(self.clients[client].netns, ip, port)

    def call(self, client: str, server: str, port: int = HTTP) -> str:
        """One request, and how it came to the application."""
        host = f"httpbin.{server}:{port}" if port == HTTP else SERVERS[server]
        try:
            answer = fetch(self.target(client, server, port), "/", headers={"Host": host})
        except (OSError, http.client.HTTPException):
            return REFUSED
        if answer.status == 503:
            return REFUSED
        assert answer.status == 200, answer
        told = answer.json()["headers"].get("x-forwarded-client-cert", "")
        if not told:
            return PLAINTEXT
        assert f"URI=spiffe://cluster.local/ns/{client}/sa/sleep" in told
        assert f"By=spiffe://cluster.local/ns/{server}/sa/httpbin" in told
        return MUTUAL

    def matrix(self, port: int = HTTP) -> dict[str, str]:
        return {f"{c} -> {s}": self.call(c, s, port) for c in NAMESPACES for s in NAMESPACES}

    def send(self, client: str, server: str, data: bytes = NO_HTTP, port: int = TCP) -> bytes:
        """What comes back for some bytes; nothing where the connection is refused."""
        try:
            with connect(self.target(client, server, port), 3.0) as connection:
                connection.sendall(data)
                return connection.recv(65536)
        except OSError:
            return b""

    def bytes_call(self, client: str, server: str, port: int = TCP) -> str:
        """Bytes that are no HTTP, and whether the server's proxy shook hands for them."""
        before = self.handshakes(server)
        if self.send(client, server, port=port) != b"echo " + NO_HTTP:
            return REFUSED
        return PLAINTEXT if self.handshakes(server) == before else MUTUAL

    def handshakes(self, server: str) -> int:
        if server == "legacy":
            return 0
        name = "listener.0.0.0.0_15006.ssl.handshake"
        return self.servers[server].admin.stats(name).get(name, 0)

    def reset(self) -> None:
        """Back to what there is without a policy; no Envoy may have refused anything."""
        for file in self.plane.config.glob("*.yaml"):
            if file.name != "mesh.yaml":
                file.unlink()
        self.write("mesh", OBJECTS)
        self.becomes(DEFAULT)
        for pod in self.lab.pods.values():
            if "envoy" in pod.processes:
                assert pod.rejected() == {}

    def becomes(self, expected: dict[str, str], port: int = HTTP) -> None:
        """The matrix is so soon, and stays so."""
        assert wait_until(lambda: self.matrix(port) == expected, PATIENCE), self.matrix(port)
        assert self.matrix(port) == expected


def expected(**servers: str) -> dict[str, str]:
    """The matrix by server: what sidecars, and what legacy gets from it."""
    found: dict[str, str] = {}
    for server in NAMESPACES:
        ours, legacy = servers[server].split(", ")
        found |= {f"{client} -> {server}": ours for client in ("foo", "bar")}
        found[f"legacy -> {server}"] = legacy
    return found


NOT_IN_MESH = f"{PLAINTEXT}, {PLAINTEXT}"
BOTH = f"{MUTUAL}, {PLAINTEXT}"
ONLY_MUTUAL = f"{MUTUAL}, {REFUSED}"
DEFAULT = expected(foo=BOTH, bar=BOTH, legacy=NOT_IN_MESH)
SELECTED = ", selector: {matchLabels: {app: httpbin}}"
