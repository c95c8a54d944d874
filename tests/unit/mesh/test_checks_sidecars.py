"""What is told about Sidecars."""

from __future__ import annotations

from controlplane.mesh.features import FEATURES, Features, feature_rows
from tests.unit.mesh.findings import HOST, REVIEWS, found
from tests.unit.mesh.world import World, service

POD = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: default, labels: {app: a}}
spec: {}
---
"""


def sidecar(name: str, spec: str, created: str = "2024-01-01T00:00:00Z", namespace: str = "default") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec: {spec}
---
"""


def test_of_two_for_everybody_both_are_told() -> None:
    world = World(
        REVIEWS
        + sidecar("a", f'{{egress: [{{hosts: ["./*", "./{HOST}"]}}]}}')
        + sidecar("b", '{egress: [{hosts: ["other/nobody.example.com"]}]}', "2024-02-01T00:00:00Z")
    )
    assert found(world) == [
        "Sidecar/a spec.workloadSelector: holds for the whole namespace in place of Sidecar default/b, "
        "which is younger",
        "Sidecar/b spec.workloadSelector: Sidecar default/a holds for the whole namespace too and is older: "
        "this one is not used",
        "Sidecar/b spec.egress[0].hosts[0]: there is no service nobody.example.com in namespace other",
    ]


def test_of_two_for_the_same_workloads_both_are_told() -> None:
    spec = '{workloadSelector: {labels: {app: a}}, egress: [{hosts: ["./*"]}]}'
    world = World(POD + sidecar("a", spec) + sidecar("b", spec))
    assert [text.partition(": ")[2] for text in found(world)] == [
        "holds for the same workloads in place of Sidecar default/b, which is younger",
        "Sidecar default/a holds for the same workloads too and is older: this one is not used",
    ]


def test_who_selects_nobody_is_told() -> None:
    spec = '{workloadSelector: {labels: {app: b}}, egress: [{hosts: ["./*"]}]}'
    assert found(World(POD + sidecar("a", spec))) == [
        "Sidecar/a spec.workloadSelector.labels: no workload of namespace default has the labels app=b: "
        "the Sidecar holds for nobody"
    ]
    # Where no workload is known nothing can be said.
    assert found(World(sidecar("a", spec))) == []


def test_a_selector_in_the_root_namespace_chooses_there_alone() -> None:
    spec = '{workloadSelector: {labels: {app: b}}, egress: [{hosts: ["./*"]}]}'
    assert found(World(sidecar("a", spec, namespace="istio-system"))) == [
        "Sidecar/a spec.workloadSelector: chooses among the workloads of the root namespace alone: "
        "for all namespaces it holds without"
    ]


def test_a_port_that_no_host_has() -> None:
    port = "{{egress: [{{hosts: ['./{}'], port: {{number: 81, protocol: {}}}}}]}}"
    assert found(World(REVIEWS + sidecar("a", port.format(HOST, "HTTP")))) == [
        "Sidecar/a spec.egress[0].port.number: none of the hosts has port 81: there is nothing to listen for"
    ]
    assert found(World(REVIEWS + sidecar("a", port.format(HOST, "HTTP_PROXY")))) == []
    assert found(World(REVIEWS + sidecar("a", port.format("*", "HTTP")))) == []


def test_the_proxy_for_strangers_has_to_be_there() -> None:
    policy = "{{outboundTrafficPolicy: {{mode: ALLOW_ANY, egressProxy: {{host: {}, port: {{number: {}}}}}}}}}"
    where = "Sidecar/a spec.outboundTrafficPolicy.egressProxy"
    assert found(World(REVIEWS + sidecar("a", policy.format("gone", 80)))) == [
        f"{where}.host: there is no service gone.default.svc.cluster.local"
    ]
    assert found(World(REVIEWS + sidecar("a", policy.format("reviews", 7)))) == [
        f"{where}.port.number: {HOST} has no port 7"
    ]


def test_tls_of_the_workloads_own() -> None:
    tls = "{mode: SIMPLE, serverCertificate: /c, privateKey: /k}"
    spec = f"{{ingress: [{{port: {{number: 443, protocol: HTTPS}}, tls: {tls}}}]}}"
    assert found(World(sidecar("a", spec))) == [
        "Sidecar/a spec.ingress[0].tls: is switched off and has no effect"
    ]
    world = World(sidecar("a", spec))
    world.graph.commit([(feature_rows, FEATURES, Features(tls_on_sidecar_ingress=True))])
    assert found(world) == [
        "Sidecar/a spec.ingress[0].tls: has no effect on workloads with a certificate of the mesh: "
        "the port takes mutual TLS"
    ]


def test_listeners_of_their_own_are_no_problem() -> None:
    spec = """
  ingress: [{port: {number: 9080, protocol: HTTP, name: http}, bind: 127.0.0.1, captureMode: NONE}]
  egress: [{hosts: ["./*"], port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.1}]
"""
    assert found(World(REVIEWS + sidecar("side", spec))) == []


def test_a_protocol_that_the_hosts_do_not_speak() -> None:
    port = "{{egress: [{{hosts: ['./{}'], port: {{number: {}, protocol: HTTP}}}}]}}"
    world = World(
        service("db", "tcp=90, web=91") + sidecar("a", port.format("db.default.svc.cluster.local", 90))
    )
    assert found(world) == [
        "Sidecar/a spec.egress[0].port.protocol: is HTTP, and the hosts say TCP: requests find no host there"
    ]
    # What is found out may be HTTP.
    world.apply(sidecar("a", port.format("db.default.svc.cluster.local", 91)))
    assert found(world) == []


def test_pods_that_come_recheck_no_sidecar() -> None:
    chooses = '{workloadSelector: {labels: {app: a}}, egress: [{hosts: ["./*"]}]}'
    world = World(POD + sidecar("a", chooses))
    assert found(world) == []
    with world.counting() as runs:
        world.apply(POD.replace("name: a,", "name: a-2,"))
        assert found(world) == []
    assert runs["checks_sidecars.sidecar_problems"] == 0


def test_a_namespace_without_services_is_told() -> None:
    egress = '{egress: [{hosts: ["./*", "istio-system/*", "empty/*", "web/*", "*/*", "~/*"]}]}'
    there = service("reviews", "http=80", namespace="web")
    message = "Sidecar/a spec.egress[0].hosts[2]: namespace empty has no service that is exported to default"
    assert found(World(there + sidecar("a", egress))) == [message]
