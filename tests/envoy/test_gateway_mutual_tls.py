"""A gateway calls the workloads of a strict mesh by mutual TLS, for callers who have no certificate."""

from __future__ import annotations

from controlplane.lab.fetch import Answer, Target, fetch
from controlplane.lab.pods import PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.peers import HTTP, PATIENCE, REFUSED, STRICT, Scene

pytestmark = MARKS

GATEWAY = "10.244.0.31"
OBJECTS = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: web, namespace: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: edge}}
spec:
  hosts: ["*"]
  gateways: [web]
  http: [{{route: [{{destination: {{host: httpbin.foo.svc.cluster.local, port: {{number: {HTTP}}}}}}}]}}]
"""

scene = scenes(Scene)


def test_from_the_edge_inwards_it_is_mutual_tls(scene: Scene) -> None:
    spec = PodSpec("edge", "edge", GATEWAY, {"istio": "ingressgateway"}, "ingress", kind="router")
    scene.write("gateway", OBJECTS)
    edge = scene.lab.start(spec, Sidecar(scene.plane.address))
    scene.lab.wait_ready()
    scene.write("policy", STRICT)
    assert wait_until(lambda: scene.call("legacy", "foo") == REFUSED, PATIENCE)

    def call() -> Answer | None:
        try:
            return fetch(Target(scene.clients["legacy"].netns, GATEWAY, 8080), "/", headers={"Host": "a"})
        except OSError:
            return None

    def served() -> bool:
        answer = call()
        return answer is not None and answer.status == 200

    assert wait_until(served, PATIENCE), call()
    answer = call()
    assert answer is not None
    told = answer.json()["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://cluster.local/ns/edge/sa/ingress" in told
    assert edge.rejected() == {}
