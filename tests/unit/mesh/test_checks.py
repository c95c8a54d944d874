"""What is said about objects that do not fit together: object, field and remedy."""

from __future__ import annotations

from controlplane.mesh.checks import checks
from controlplane.model.keys import Ref
from tests.unit.mesh.findings import HOST, REVIEWS, entry, found, route, rule, to
from tests.unit.mesh.world import World, service

DESTINATION = "spec.http[0].route[0].destination"


def test_a_mesh_without_mistakes_has_no_problems() -> None:
    world = World(
        REVIEWS
        + rule("reviews", "subsets: [{name: v1, labels: {version: v1}}]")
        + route("web", to("host: reviews, subset: v1"))
        + entry("db", "db.example.com", "resolution: DNS")
    )
    assert found(world) == []


def test_a_destination_that_does_not_exist() -> None:
    world = World(route("web", to("host: reviews")))
    assert found(world) == [f"VirtualService/web {DESTINATION}.host: there is no service {HOST}"]
    world.apply(REVIEWS)
    assert found(world) == []
    world.delete("Service", "reviews")
    assert len(found(world)) == 1


def test_a_destination_that_is_not_exported() -> None:
    hidden = service("reviews", "http=80", namespace="other").replace(
        "creationTimestamp:", "annotations: {networking.istio.io/exportTo: .}, creationTimestamp:"
    )
    world = World(hidden + route("web", to("host: reviews.other.svc.cluster.local")))
    assert found(world) == [
        f"VirtualService/web {DESTINATION}.host: service "
        "reviews.other.svc.cluster.local of namespace other is not exported to namespace default"
    ]


def test_subsets_and_ports_that_do_not_exist() -> None:
    world = World(REVIEWS + route("web", to("host: reviews, subset: v1, port: {number: 81}")))
    assert found(world) == [
        f"VirtualService/web {DESTINATION}.port.number: service {HOST} has no port 81",
        f"VirtualService/web {DESTINATION}.subset: no DestinationRule defines subsets of {HOST}",
    ]
    world.apply(rule("reviews", "subsets: [{name: v2}]") + route("web", to("host: reviews, subset: v1")))
    assert found(world) == [f"VirtualService/web {DESTINATION}.subset: {HOST} has no subset 'v1'"]


def test_a_subset_of_a_rule_for_selected_workloads_is_one() -> None:
    chosen = rule("a", "workloadSelector: {matchLabels: {app: a}}, subsets: [{name: v1}]")
    assert found(World(REVIEWS + chosen + route("web", to("host: reviews, subset: v1")))) == []
    assert found(World(REVIEWS + chosen + route("web", to("host: reviews, subset: v2")))) == [
        f"VirtualService/web {DESTINATION}.subset: no DestinationRule defines subsets of {HOST}"
    ]


def test_all_kinds_of_destinations_are_looked_at() -> None:
    spec = """
  http:
  - delegate: {name: nobody}
  - mirrors: [{destination: {host: gone}}]
    route: [{destination: {host: reviews}}]
  tcp: [{route: [{destination: {host: gone}}]}]
  tls: [{match: [{sniHosts: [web]}], route: [{destination: {host: gone}}]}]
"""
    fields = [line.split(": ")[0] for line in found(World(REVIEWS + route("web", spec)))]
    assert fields == [
        "VirtualService/web spec.http[1].mirrors[0].destination.host",
        "VirtualService/web spec.tls[0].route[0].destination.host",
        "VirtualService/web spec.tcp[0].route[0].destination.host",
        "VirtualService/web spec.http[0].delegate",
    ]


def test_an_older_virtual_service_for_the_same_host() -> None:
    old = route("old", to("host: reviews"), created="2024-01-01T00:00:00Z")
    young = route("young", to("host: reviews"), created="2024-02-01T00:00:00Z")
    assert found(World(REVIEWS + old + young)) == [
        "VirtualService/old spec.hosts[0]: in namespace default this one speaks for "
        "web.default.svc.cluster.local, and VirtualService default/young is not used",
        "VirtualService/young spec.hosts[0]: VirtualService default/old speaks for "
        "web.default.svc.cluster.local; in namespace default this one is not used",
    ]
    # A private one comes before an older public one.
    private = young.replace("spec:", "spec:\n  exportTo: ['.']")
    assert [line.split(":")[0] for line in found(World(REVIEWS + old + private))] == [
        "VirtualService/old spec.hosts[0]",
        "VirtualService/young spec.hosts[0]",
    ]
    # Where it is exported to nobody at home, it competes with nobody there.
    abroad = young.replace("spec:", "spec:\n  exportTo: [other]")
    assert found(World(REVIEWS + old + abroad)) == []
    gateway = young.replace("spec:", "spec:\n  gateways: [ingress]")
    missing = "VirtualService/young spec.gateways[0]: there is no Gateway default/ingress"
    assert found(World(REVIEWS + old + gateway)) == [missing]


def test_hosts_that_are_defined_twice() -> None:
    world = World(REVIEWS + entry("x", HOST, "resolution: DNS", protocol="HTTP"))
    assert found(world) == [
        f"ServiceEntry/x spec.hosts[0]: {HOST} is defined by Service default/reviews; "
        "this entry is not used for it"
    ]


def test_an_entry_of_the_name_and_the_host_of_a_service_is_told_so_and_no_more() -> None:
    world = World(service("reviews", "tcp=9000", app="reviews") + entry("reviews", HOST, "resolution: DNS"))
    assert found(world) == [
        f"ServiceEntry/reviews spec.hosts[0]: {HOST} is defined by Service default/reviews; "
        "this entry is not used for it"
    ]


def test_opaque_ports_that_clash() -> None:
    world = World(
        entry("a", "a.example.com", "resolution: DNS", created="2024-01-01T00:00:00Z")
        + entry("b", "b.example.com", "resolution: DNS", created="2024-02-01T00:00:00Z")
        + entry("c", "c.example.com", "resolution: DNS", "HTTP", "2024-02-01T00:00:00Z")
    )
    assert found(world) == [
        "ServiceEntry/a spec.ports[0]: opaque port 3306, which has no address of its own, keeps out "
        "ServiceEntry default/b: this one is older",
        "ServiceEntry/b spec.ports[0]: opaque port 3306 has no address of its own and is taken by "
        "ServiceEntry default/a, which is older",
    ]
    world.apply(entry("d", "d.example.com", "resolution: DNS", created="2024-03-01T00:00:00Z"))
    assert "keeps out ServiceEntry default/b and 1 more" in found(world)[0]
    world.delete("ServiceEntry", "d")
    world.apply(entry("b", "b.example.com", "addresses: [10.0.0.5], resolution: DNS"))
    assert found(world) == []


def test_services_that_call_one_port_by_two_protocols() -> None:
    world = World(
        service("a", "http=80:9080", app="x", created="2024-01-01T00:00:00Z")
        + service("b", "tcp=81:9080", app="x", ip="10.96.0.11", created="2024-02-01T00:00:00Z")
        + service("c", "http=82:9080", app="x", ip="10.96.0.12", created="2024-02-01T00:00:00Z")
    )
    lines = found(world)
    assert [line.split(": ")[0] for line in lines] == ["Service/a spec.ports[0]", "Service/b spec.ports[0]"]
    assert "HTTP counts inbound for port 9080, not what Service default/b says: this one is older" in lines[0]
    assert "Service default/a, which is older, calls port 9080" in lines[1]


def test_hosts_that_are_resolved_when_asked_for_have_to_be_named() -> None:
    def told(protocol: str) -> list[str]:
        return found(World(entry("x", "'*.example.com'", "resolution: DYNAMIC_DNS", protocol=protocol)))

    assert told("HTTP") == told("TLS") == told("GRPC") == []
    assert told("TCP") == [
        "ServiceEntry/x spec.ports[0].protocol: TCP says no host, so that with resolution DYNAMIC_DNS its "
        "connections lead nowhere"
    ]


def test_an_edit_rechecks_what_it_touches() -> None:
    objects = "".join(
        service(f"s{n}", "http=80") + route(f"r{n}", to(f"host: s{n}"), hosts=f"[h{n}]") for n in range(20)
    )
    world = World(objects)
    world.map(checks)
    with world.counting() as runs:
        world.delete("Service", "s3")
    assert runs["checks_routes.virtual_service_problems"] == 1
    assert world.map(checks).keys() == {Ref("VirtualService", "default", "r3")}


def test_settings_of_the_mesh_that_have_an_effect_are_not_named() -> None:
    world = World(
        """
apiVersion: mesh.istio.io/v1alpha1
kind: MeshConfig
trustDomain: example.org
connectTimeout: 3s
localityLbSetting: {enabled: true}
outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}
"""
    )
    fields = [problem.field for problems in world.map(checks).values() for problem in problems]
    assert fields == []


def test_ports_of_the_proxies_themselves() -> None:
    message = "is a port of the proxies themselves: through them nobody is called there"
    world = World(service("a", "http=15001, tcp=15006, http-b=15021"))
    assert found(world) == [
        f"Service/a spec.ports[0].port: 15001 {message}",
        f"Service/a spec.ports[2].port: 15021 {message}",
    ]
    world.apply("kind: MeshConfig\nproxyListenPort: 15101\n")
    assert found(world) == [f"Service/a spec.ports[2].port: 15021 {message}"]


def test_what_passes_by_the_proxies() -> None:
    (told,) = World(service("dns", "dns=53/UDP, dns-tcp=53")).map(checks).values()
    assert [(one.level, one.field, one.message) for one in told] == [
        ("info", "spec.ports[0].protocol", "UDP passes by the proxies: nothing of the mesh holds for port 53")
    ]
