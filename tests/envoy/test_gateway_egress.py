"""A real Envoy as the way out: what leaves the mesh is encrypted there, and goes to whom a Secret trusts."""

from __future__ import annotations

import http.client
from dataclasses import replace

from controlplane.lab.fetch import Answer, Target, fetch
from controlplane.lab.pod_spec import PodSpec
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.gateways import EGRESS, ISSUER, VAULT, Scene
from tests.support.servers import Issuer, Pair

pytestmark = MARKS

scene = scenes(Scene)

HOST = "vault.example.com"
OBJECTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: istio-egressgateway, namespace: edge}}
spec:
  clusterIP: 10.96.0.21
  selector: {{istio: egressgateway}}
  ports: [{{name: https, port: 443, targetPort: 8443}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: egress
  namespace: edge
  labels: {{istio: egressgateway, security.istio.io/tlsMode: istio}}
spec: {{serviceAccountName: egress, containers: [{{name: proxy}}]}}
status: {{podIP: {EGRESS}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: vault, namespace: prod}}
spec:
  hosts: [{HOST}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {VAULT}, ports: {{http: 8080}}}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: leaving, namespace: prod}}
spec:
  selector: {{istio: egressgateway}}
  servers:
  - port: {{number: 443, name: https, protocol: HTTPS}}
    tls: {{mode: ISTIO_MUTUAL}}
    hosts: [{HOST}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: to-the-gateway, namespace: prod}}
spec:
  host: istio-egressgateway.edge.svc.cluster.local
  subsets:
  - name: vault
    trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, sni: {HOST}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outside, namespace: prod}}
spec:
  host: {HOST}
  trafficPolicy:
    portLevelSettings:
    - port: {{number: 80}}
      tls: {{mode: MUTUAL, credentialName: vault-client, sni: {HOST}}}
      connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: leaving, namespace: prod}}
spec:
  hosts: [{HOST}]
  gateways: [leaving, mesh]
  http:
  - match: [{{gateways: [mesh], port: 80}}]
    route:
    - destination: {{host: istio-egressgateway.edge.svc.cluster.local, subset: vault, port: {{number: 443}}}}
  - match: [{{gateways: [leaving], port: 443}}]
    route: [{{destination: {{host: {HOST}, port: {{number: 80}}}}}}]
"""


def credential(own: Pair, authorities: Issuer) -> str:
    """The Secret with which the gateway goes out."""
    return own.secret("vault-client", authorities=authorities.certificate)


def test_the_gateway_encrypts_what_leaves_and_knows_whom_it_speaks_to(scene: Scene) -> None:
    sidecar = scene.safe.sidecar
    assert sidecar is not None
    spec = PodSpec("egress", "edge", EGRESS, {"istio": "egressgateway"}, "egress", kind="router")
    egress = scene.lab.start(spec, replace(sidecar, stats=("cluster.outbound", "cluster_manager")))
    scene.lab.wait_ready()

    def call() -> Answer | None:
        try:
            return fetch(Target(scene.safe.netns, "10.96.9.9", 80), "/seen", headers={"Host": HOST})
        except (OSError, http.client.HTTPException):
            return None

    def status() -> int | None:
        answer = call()
        return None if answer is None else answer.status

    own = ISSUER.issue("client.example.com")
    scene.write("secrets", credential(own, ISSUER))
    scene.write("leaving", OBJECTS)
    assert wait_until(lambda: status() == 200, 40), call()
    counted = egress.admin.stats("ssl.handshake|upstream_cx_total")
    assert counted[f"cluster.outbound|80||{HOST};.ssl.handshake"] > 0
    # Another authority would not have let the server in: the new Secret counts at once, for new connections.
    scene.write("secrets", credential(own, Issuer("others")))
    assert wait_until(lambda: status() == 503, 40), call()
    scene.write("secrets", credential(own, ISSUER))
    assert wait_until(lambda: status() == 200, 40), call()
    assert egress.admin.rejected() == scene.safe.admin.rejected() == {}
