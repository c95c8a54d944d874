"""A workload under AuthorizationPolicies between real Envoys, and clients of several identities.

sleep (default)  ┐ mutual TLS                   web.foo:80    HTTP
dev (dev)        ┼────────────► web (foo) ◄──── web.foo:9000  TCP
legacy (none)    ┘ plaintext                    port 9500     a port that no service names
                                authz (auth)    an external authorizer, HTTP 8000 and gRPC 9001
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.lab.fetch import Answer, Target, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.site import Command
from controlplane.lab.waiting import wait_until
from tests.support.issuer import Issuer

HERE = Path(__file__).parent
WEB, SLEEP, DEV, LEGACY, AUTHZ = (f"10.244.0.{number}" for number in (10, 11, 12, 13, 14))
VIP, AUTHZ_VIP = "10.96.0.10", "10.96.0.14"
HTTP, TCP, UNNAMED = 80, 9000, 9500
ISSUER = Issuer("testing@secure.istio.io")


def _pod(name: str, namespace: str, ip: str, labels: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}{labels}}}}}
spec: {{serviceAccountName: {name}, containers: [{{name: {name}}}]}}
status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
"""


def _service(name: str, namespace: str, vip: str, ip: str, ports: Mapping[str, tuple[int, int]]) -> str:
    declared = [{"name": port, "port": number, "targetPort": to} for port, (number, to) in ports.items()]
    sliced = [{"name": port, "port": to} for port, (_, to) in ports.items()]
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {vip}, selector: {{app: {name}}}, ports: {json.dumps(declared)}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-a, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: {json.dumps(sliced)}
endpoints:
- addresses: [{ip}]
  conditions: {{ready: true}}
  targetRef: {{kind: Pod, name: {name}, namespace: {namespace}}}
---
"""


MESH = "".join(
    (
        _pod("web", "foo", WEB, ", version: v1, security.istio.io/tlsMode: istio"),
        _pod("sleep", "default", SLEEP),
        _pod("dev", "dev", DEV),
        _pod("authz", "auth", AUTHZ),
        _service("web", "foo", VIP, WEB, {"http": (HTTP, 8080), "tcp": (TCP, 9000)}),
        _service("authz", "auth", AUTHZ_VIP, AUTHZ, {"http": (8000, 8000), "grpc": (9001, 9001)}),
        f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: foo}}
spec: {{jwtRules: [{{issuer: {ISSUER.name}, jwks: {json.dumps(ISSUER.jwks)}}}]}}
""",
    )
)
PROVIDERS = """
accessLogFile: /dev/stdout
accessLogFormat: "%DYNAMIC_METADATA(envoy.common:access_log_hint)% %REQ(:PATH)% %RESPONSE_CODE_DETAILS% \
  from=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% peer=%DOWNSTREAM_PEER_URI_SAN% %RESPONSE_FLAGS%\\n"
extensionProviders:
- name: ext-http
  envoyExtAuthzHttp:
    service: authz.auth.svc.cluster.local
    port: 8000
    pathPrefix: /check
    includeRequestHeadersInCheck: [x-ext-authz]
    includeAdditionalHeadersInCheck: {x-mesh: "yes"}
    includeRequestBodyInCheck: {maxRequestBytes: 64}
    headersToUpstreamOnAllow: [x-authorized-by]
    headersToDownstreamOnDeny: [x-reason]
- name: ext-grpc
  envoyExtAuthzGrpc: {service: auth/authz.auth.svc.cluster.local, port: 9001}
- name: ext-open
  envoyExtAuthzHttp: {service: authz.auth.svc.cluster.local, port: 8000, failOpen: true, timeout: 1s}
"""


def policy(name: str, spec: str, *, namespace: str = "foo", dry_run: bool = False) -> str:
    """An AuthorizationPolicy in YAML; the spec is in flow style."""
    annotations = ", annotations: {istio.io/dry-run: 'true'}" if dry_run else ""
    return (
        "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}{annotations}}}\nspec: {spec}\n---\n"
    )


def bearer(**claims: Any) -> dict[str, str]:
    """The header with a token of alice, with more claims."""
    return {"authorization": f"Bearer {ISSUER.token(**claims)}"}


class Scene:
    """The pods, and the folder that says what holds."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        options = ("--trust-loopback-identities", "true", "--debounce-after", "10ms")
        self.plane: Plane = start_plane(lab.site, (*options, "--mesh-config", str(self._mesh_file())))
        self.write("mesh", MESH)
        self.plane.wait_ready()
        sidecar = Sidecar(self.plane.address, stats=("listener", "http", "tcp", "cluster_manager"))
        app = App(HERE / "echo.py", ("8080", "9000", "9500"), port=8080)
        labels = {"app": "web", "version": "v1"}
        self.web: Pod = lab.start(PodSpec("web", "foo", WEB, labels, "web", app=app), sidecar)
        self.sleep: Pod = lab.start(PodSpec("sleep", "default", SLEEP, {"app": "sleep"}, "sleep"), sidecar)
        self.dev: Pod = lab.start(PodSpec("dev", "dev", DEV, {"app": "dev"}, "dev"), sidecar)
        self.legacy: Pod = lab.start(PodSpec("legacy", "legacy", LEGACY), None)
        self.authz: Pod = lab.start(PodSpec("authz", "auth", AUTHZ), None)
        self.checks_log = lab.directory / "authz.log"
        argv = (sys.executable, "-m", "tests.support.ext_authz", "8000", "9001")
        env = {**os.environ, "REFUSED": DEV, "PYTHONPATH": str(HERE.parents[1])}
        lab.site.start(Command("authz/server", argv, self.authz.netns, log=self.checks_log, env=env))
        lab.wait_ready()
        assert wait_until(self._answering, 20)

    def _answering(self) -> bool:
        """Whether the external authorizer is there: it serves HTTP last."""
        try:
            return fetch(Target(self.authz.netns, AUTHZ, 8000), "/ready").status == 403
        except ConnectionError:
            return False

    def _mesh_file(self) -> Path:
        file: Path = self.lab.directory / "mesh-config.yaml"
        file.write_text(PROVIDERS)
        return file

    def write(self, name: str, text: str) -> None:
        """Put a file of objects into the watched folder, or replace it at once."""
        new = self.lab.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.plane.config / f"{name}.yaml")

    def clear(self) -> None:
        """Take away all policies, and wait until nobody is refused."""
        for file in self.plane.config.glob("*.yaml"):
            if file.name != "mesh.yaml":
                file.unlink()
        for pod in (self.sleep, self.dev, self.legacy):
            assert wait_until(lambda pod=pod: self.status(pod) == 200, 40)
            assert wait_until(lambda pod=pod: self.status(pod, port=TCP) == 200, 40)

    def get(
        self,
        pod: Pod,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] = {},
        port: int = HTTP,
    ) -> Answer:
        """A request from a pod: by the service's address if that has the port, else to the pod itself."""
        host, number = _where(pod, port)
        target = Target(pod.netns, host, number)
        return fetch(target, path, method=method, headers={"host": "web.foo", **headers})

    def status(self, pod: Pod, path: str = "/", **more: Any) -> int | None:
        """The status of an answer, None where the connection was cut."""
        try:
            return self.get(pod, path, **more).status
        except (ConnectionError, http.client.HTTPException):
            return None

    def becomes(self, status: int | None, pod: Pod, path: str = "/", **more: Any) -> bool:
        """Whether a request is answered so, soon."""
        return wait_until(lambda: self.status(pod, path, **more) == status, 40)

    def checks(self) -> Iterator[dict[str, Any]]:
        """What the external authorizer was asked so far."""
        return (json.loads(line) for line in self.checks_log.read_text().splitlines() if line[:1] == "{")

    def logged(self, text: str) -> bool:
        """Whether the access log of the web sidecar has a line like this, soon."""
        log = self.web.directory / "envoy.log"
        return wait_until(lambda: text in log.read_text(errors="replace"), 40)

    def counted(self, pattern: str) -> int:
        """The sum of the web sidecar's counters with such a name."""
        return sum(self.web.admin.stats(pattern).values())


def _where(pod: Pod, port: int) -> tuple[str, int]:
    if port == UNNAMED or pod.sidecar is None:
        return WEB, {HTTP: 8080}.get(port, port)
    return VIP, port
