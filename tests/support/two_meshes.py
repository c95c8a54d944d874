"""Two meshes with a common root and a control plane each: one calls the other through its gateway.

mesh a                      mesh b
sleep (foo) ── sidecar ──►  gateway (edge) ──► sidecar ── httpbin (bar, network n2)
                            sleep (bar, network n1) ── sidecar ──► gateway, for it is in another network
"""

from __future__ import annotations

import http.client
import time
from pathlib import Path

from controlplane.lab.fetch import Answer, Target, fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import App, PodSpec, Sidecar
from controlplane.lab.pods import Lab, Pod
from controlplane.lab.waiting import wait_until
from tests.support.cas import DAY, make_ca, plug, shaped

HTTPBIN = Path(__file__).parent / "httpbin.py"
PORT, GLOBAL_VIP, VIP = 8000, "240.0.0.2", "10.96.0.9"
SERVER, FAR, NEAR, GATEWAY = "10.244.0.41", "10.244.0.42", "10.244.0.43", "10.244.0.44"
PATIENCE = 40.0

# What the seeds say of several clusters, and what they take for granted: how *.global is called.
MESH_A = f"""
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {{name: httpbin-bar, namespace: foo}}
spec:
  hosts: [httpbin.bar.global]
  location: MESH_INTERNAL
  ports: [{{name: http1, number: {PORT}, protocol: http}}]
  resolution: DNS
  addresses: [{GLOBAL_VIP}]
  subjectAltNames: ["spiffe://cluster.local/ns/bar/sa/httpbin"]
  endpoints: [{{address: {GATEWAY}, ports: {{http1: 15443}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: global, namespace: istio-system}}
spec: {{host: "*.global", trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}
"""

MESH_B = f"""
apiVersion: v1
kind: Service
metadata: {{name: httpbin, namespace: bar}}
spec: {{clusterIP: {VIP}, selector: {{app: httpbin}}, ports: [{{name: http, port: {PORT}}}]}}
---
apiVersion: v1
kind: Pod
metadata:
  name: httpbin-b
  namespace: bar
  labels: {{app: httpbin, security.istio.io/tlsMode: istio, topology.istio.io/network: n2}}
spec: {{serviceAccountName: httpbin, containers: [{{name: app}}]}}
status: {{podIP: {SERVER}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: sleep-b, namespace: bar, labels: {{app: sleep, topology.istio.io/network: n1}}}}
spec: {{serviceAccountName: sleep, containers: [{{name: app}}]}}
status: {{podIP: {NEAR}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: global, namespace: bar}}
spec:
  hosts: [httpbin.bar.global]
  location: MESH_INTERNAL
  ports: [{{name: http1, number: {PORT}, protocol: http}}]
  resolution: STATIC
  workloadSelector: {{labels: {{app: httpbin}}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: cross, namespace: edge}}
spec:
  selector: {{istio: eastwestgateway}}
  servers:
  - port: {{number: 15443, name: tls, protocol: TLS}}
    tls: {{mode: AUTO_PASSTHROUGH}}
    hosts: ["*.global", "*.local"]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: STRICT}}}}
"""

DOOR = f"""
apiVersion: v1
kind: Service
metadata: {{name: east, namespace: edge, labels: {{topology.istio.io/network: n2}}}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  externalIPs: [{GATEWAY}]
  selector: {{istio: eastwestgateway}}
  ports: [{{name: tls, port: 15443}}]
"""


def gateway_pod(config: str = "") -> str:
    """The gateway's Pod; `config` is what its annotation says, one line."""
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: east-b
  namespace: edge
  labels: {{istio: eastwestgateway, topology.istio.io/network: n2}}
  annotations: {{proxy.istio.io/config: '{config or "{}"}'}}
spec: {{serviceAccountName: east, containers: [{{name: proxy}}]}}
status: {{podIP: {GATEWAY}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
"""


class Scene:
    """Two control planes, and the pods of their meshes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        now = time.time()
        shape = shaped(begin=now - 60, end=now + DAY)
        root = make_ca("common root", None, shape)
        self.planes: dict[str, Plane] = {}
        for mesh in ("a", "b"):
            signer = make_ca(f"mesh {mesh}", root, shape)
            folder = plug(lab.directory / f"cacerts-{mesh}", signer, (root,), (signer,))
            said = ("--trust-loopback-identities", "true", "--root-ca-dir", str(folder))
            self.planes[mesh] = start_plane(lab.site, said, within=mesh)
        self.write("a", "mesh", MESH_A)
        self.write("b", "mesh", MESH_B)
        self.write("b", "gateway", gateway_pod())
        for plane in self.planes.values():
            plane.wait_ready()
        stats = ("listener", "cluster.outbound", "http.outbound", "ssl")
        sidecars = {mesh: Sidecar(plane.address, stats=stats) for mesh, plane in self.planes.items()}
        app = App(HTTPBIN, (str(PORT),), port=PORT)
        server = PodSpec("httpbin-b", "bar", SERVER, {"app": "httpbin"}, "httpbin", app=app)
        self.server: Pod = lab.start(server, sidecars["b"])
        far = PodSpec("sleep-a", "foo", FAR, {"app": "sleep"}, "sleep")
        self.far: Pod = lab.start(far, sidecars["a"])
        near = PodSpec("sleep-b", "bar", NEAR, {"app": "sleep"}, "sleep")
        self.near: Pod = lab.start(near, sidecars["b"])
        east = PodSpec("east-b", "edge", GATEWAY, {"istio": "eastwestgateway"}, "east", kind="router")
        self.gateway: Pod = lab.start(east, sidecars["b"])
        lab.wait_ready()

    def write(self, mesh: str, name: str, text: str) -> None:
        """Put a file of objects into a mesh's folder, or replace it at once."""
        new = self.lab.directory / f"{mesh}-{name}.new"
        new.write_text(text)
        new.rename(self.planes[mesh].config / f"{name}.yaml")

    def call(self, client: Pod, address: str, host: str) -> Answer | None:
        """One request; None where nobody answers."""
        try:
            return fetch(Target(client.netns, address, PORT), "/", headers={"Host": host})
        except (OSError, http.client.HTTPException):
            return None

    def passed_on(self, name: str) -> int:
        """How many connections the gateway has passed on to a cluster."""
        counter = f"cluster.{name};.upstream_cx_total"
        return self.gateway.admin.stats("upstream_cx_total").get(counter, 0)

    def answered(self, client: Pod, address: str, host: str) -> Answer:
        """The answer to such a request, which comes soon."""

        def fine() -> bool:
            answer = self.call(client, address, host)
            return answer is not None and answer.status == 200

        assert wait_until(fine, PATIENCE), self.call(client, address, host)
        answer = self.call(client, address, host)
        assert answer is not None
        return answer
