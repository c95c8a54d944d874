"""A real Envoy as a gateway of what it does not read, on the way into the mesh and out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from controlplane.lab.fetch import Target, fetch
from controlplane.lab.pods import PodSpec
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.gateways import EGRESS, GATEWAY, ISSUER, VAULT, Scene, secure_gateway

pytestmark = MARKS

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(scene: Scene) -> Iterator[None]:
    yield
    scene.clear()


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
    assert wait_until(lambda: scene.secure("vault.example.com", ISSUER) is not None, 40)
    assert scene.secure("vault.example.com", ISSUER) == (200, b"vault", scene.vault.serial)
    assert wait_until(lambda: scene.secure("shop.example.com", ISSUER) is not None, 40)
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
        assert wait_until(leaves, 40), egress.admin.stats(counted)
        assert egress.admin.rejected() == {}
    finally:
        scene.lab.delete(egress)
