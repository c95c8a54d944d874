"""A machine outside the cluster joins by connecting, with real Envoys: it is called once it is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.envoys import MARKS, scenes
from tests.support.residents import Resident, pod, web
from tests.support.town import Town

pytestmark = MARKS

SERVICE = "10.97.0.9"
OBJECTS = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vms, namespace: shop}
spec:
  metadata: {labels: {app: vm}}
  template: {serviceAccount: vm, ports: {http: 8080}, labels: {kind: machine}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: others, namespace: shop}
spec:
  template: {serviceAccount: somebody-else, labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vm, namespace: shop}
spec:
  hosts: [vm.internal]
  addresses: [10.97.0.9]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""


def machine(name: str, number: int, group: str) -> Resident:
    """A machine with an Envoy and a token, that no Pod tells of."""
    found = pod(name, "shop", number, web(name, 8080))
    return replace(found, node="", spec=replace(found.spec, metadata={"AUTO_REGISTER_GROUP": group}))


town = scenes(lambda lab: Town(lab, (pod("client", "shop", 4),), OBJECTS))


def answers(town: Town) -> Any:
    reply = town.call("client", SERVICE, host="vm.internal")
    return reply.server or reply.status


def test_who_joins_is_called_and_who_may_not_join_is_not(town: Town) -> None:
    assert answers(town) == 503
    town.start(machine("other", 6, "others"))
    town.start(machine("vm", 5, "vms"))
    town.lab.wait_ready()
    town.becomes("vm", lambda: answers(town))
    assert {answers(town) for _ in range(10)} == {"vm"}
    said = "proxy other.shop asks to join and may not"
    assert any(said in problem for problem in town.problems()), town.problems()
    # It has a certificate, and is spoken to as what it is: under STRICT mutual TLS.
    assert town.stat("vm", r"^listener\.0\.0\.0\.0_15006\.ssl\.handshake$") >= 1
    town.accepted()
