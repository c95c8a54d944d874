"""What clients see: exportTo, Sidecars, one service per host; and what a change costs."""

from __future__ import annotations

from controlplane.mesh.scope import Scope, common_services, particular_services, ports, visible
from controlplane.model.keys import Key
from tests.unit.mesh.world import World, service

HTTP = "http=80"


def hosts(world: World, scope: Scope) -> list[str]:
    """Visible services as "name.namespace"."""
    found = world.map(visible, scope)
    return [f"{id.host.removesuffix('.svc.cluster.local')}@{id.namespace}" for id in found]


def exported(name: str, namespace: str, to: str, created: str = "") -> str:
    text = service(name, HTTP, namespace=namespace, created=created)
    return text.replace(
        "creationTimestamp:", f"annotations: {{networking.istio.io/exportTo: '{to}'}}, creationTimestamp:"
    )


def sidecar(namespace: str, *egress: str, name: str = "default") -> str:
    listeners = "\n".join(f"  - {{hosts: [{hosts}]}}" for hosts in egress)
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  egress:
{listeners}
---
"""


def entry(name: str, host: str, namespace: str = "default", created: str = "", export_to: str = "'*'") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  hosts: [{host}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: NONE
  exportTo: [{export_to}]
---
"""


def test_everything_that_is_exported_is_visible() -> None:
    world = World(
        service("a", HTTP)
        + exported("b", "default", ".")
        + exported("c", "default", "other")
        + exported("d", "default", "~")
        + service("e", HTTP, namespace="other")
    )
    assert hosts(world, Scope("default")) == ["a.default@default", "b.default@default", "e.other@other"]
    assert hosts(world, Scope("other")) == ["a.default@default", "c.default@default", "e.other@other"]
    assert hosts(world, Scope("third")) == ["a.default@default", "e.other@other"]


def test_one_service_per_host_the_clients_own_first() -> None:
    world = World(
        entry("x", "a.example.com", "one", "2024-01-02T00:00:00Z")
        + entry("x", "a.example.com", "two", "2024-01-01T00:00:00Z")
        + entry("y", "b.default.svc.cluster.local", "two", "2020-01-01T00:00:00Z")
        + service("b", HTTP, created="2024-05-01T00:00:00Z")
    )
    # The oldest wins for strangers, the client's own for itself, Kubernetes' over an older entry.
    assert hosts(world, Scope("zzz")) == ["a.example.com@two", "b.default@default"]
    assert hosts(world, Scope("one")) == ["a.example.com@one", "b.default@default"]
    assert hosts(world, Scope("two")) == ["a.example.com@two", "b.default@two"]


def test_a_private_rival_matters_to_its_own_namespace_only() -> None:
    world = World(entry("x", "a.example.com", "one", export_to="'.'") + entry("x", "a.example.com", "two"))
    assert hosts(world, Scope("one")) == ["a.example.com@one"]
    assert hosts(world, Scope("three")) == ["a.example.com@two"]
    world.delete("ServiceEntry", "x", "one")
    assert hosts(world, Scope("one")) == ["a.example.com@two"]


def test_services_by_port() -> None:
    world = World(service("a", "http=80, grpc=9000") + service("b", HTTP))
    scope = Scope("default")
    world.map(ports, scope)
    by_port = {
        number: [id.host.split(".")[0] for id in part.keys()]
        for number, part in world.map(ports, scope).items()
    }
    assert by_port == {80: ["a", "b"], 9000: ["a"]}


def test_egress_hosts() -> None:
    objects = (
        service("a", HTTP, namespace="one")
        + service("b", HTTP, namespace="one")
        + service("a", HTTP, namespace="two")
        + entry("w", "'*.example.com'", "two")
        + entry("x", "x.example.com", "two")
    )

    def seen(*egress: str) -> list[str]:
        world = World(objects + sidecar("one", *egress))
        return hosts(world, Scope("one", Key("one", "default")))

    assert seen("'./*'") == ["a.one@one", "b.one@one"]
    assert seen("'two/*'") == ["*.example.com@two", "a.two@two", "x.example.com@two"]
    assert seen(
        "'./a.one.svc.cluster.local'",
    ) == ["a.one@one"]
    assert seen("'*/x.example.com'") == ["x.example.com@two"]
    assert seen("'*/*.example.com'") == ["*.example.com@two", "x.example.com@two"]
    assert seen("'two/*', '~two/x.example.com'") == ["*.example.com@two", "a.two@two"]
    assert seen("'~/*'") == []
    assert len(seen("'*/*'")) == 5


def test_an_imported_service_replaces_a_rival_that_is_not_imported() -> None:
    world = World(
        entry("x", "a.example.com", "one") + entry("x", "a.example.com", "two") + sidecar("one", "'two/*'")
    )
    assert hosts(world, Scope("one", Key("one", "default"))) == ["a.example.com@two"]


def test_an_egress_listener_with_a_port_takes_that_port_and_keeps_others_off() -> None:
    egress = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: one}
spec:
  egress:
  - {port: {number: 80, protocol: HTTP, name: http}, hosts: ["./a.one.svc.cluster.local"]}
  - {hosts: ["./*"]}
"""
    world = World(
        service("a", "http=80, grpc=9000", namespace="one")
        + service("b", "http=80, grpc=9000", namespace="one")
        + egress
    )
    scope = Scope("one", Key("one", "default"))
    by_port = {
        n: [id.host.split(".")[0] for id in part.keys()] for n, part in world.map(ports, scope).items()
    }
    assert by_port == {80: ["a"], 9000: ["a", "b"]}
    # b is still routed to on port 80, only not by name.
    assert "outbound|80||b.one.svc.cluster.local" in world.clusters(scope)


def test_destinations_of_imported_routes_are_imported_with_the_ports_they_name() -> None:
    route = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: one}
spec:
  hosts: [a.one.svc.cluster.local]
  http:
  - route: [{destination: {host: b.two.svc.cluster.local, port: {number: 80}}}]
"""
    world = World(
        service("a", HTTP, namespace="one")
        + service("b", "http=80, grpc=9000", namespace="two")
        + service("c", HTTP, namespace="two")
        + sidecar("one", "'./*'")
    )
    scope = Scope("one", Key("one", "default"))
    assert hosts(world, scope) == ["a.one@one"]
    world.apply(route)
    assert hosts(world, scope) == ["a.one@one", "b.two@two"]
    assert [name for name in world.clusters(scope) if "b.two" in name] == [
        "outbound|80||b.two.svc.cluster.local"
    ]
    world.delete("VirtualService", "a", "one")
    assert hosts(world, scope) == ["a.one@one"]


def test_a_route_for_a_host_that_is_not_imported_imports_nothing() -> None:
    world = World(
        service("b", HTTP, namespace="two")
        + sidecar("one", "'./*'")
        + """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: two}
spec:
  hosts: [c.two.svc.cluster.local]
  http: [{route: [{destination: {host: b}}]}]
"""
    )
    assert hosts(world, Scope("one", Key("one", "default"))) == []


def test_common_services_are_in_no_scopes_own_map() -> None:
    world = World(
        service("a", HTTP)
        + exported("b", "default", ".")
        + entry("x", "x.com", "one")
        + entry("x", "x.com", "two")
    )
    assert [id.host for id in world.map(particular_services, Scope("default"))] == [
        "b.default.svc.cluster.local",
        "x.com",
    ]
    assert [id.host for id in world.map(particular_services, Scope("one"))] == ["x.com"]
    assert common_services is not None


def test_a_new_service_costs_each_scope_one_key() -> None:
    objects = "".join(service(f"s{n}", HTTP) for n in range(30))
    world = World(objects)
    scopes = [Scope(f"ns{n}") for n in range(5)]
    for scope in scopes:
        world.map(visible, scope)
        world.map(ports, scope)
    with world.counting() as runs:
        world.apply(service("new", HTTP))
    # One run for the service, none per scope and none per other service.
    assert runs["scope._itself"] == 1
    assert runs["scope._all_ports"] == 1
    assert sum(runs.values()) < 12
    for scope in scopes:
        assert world.changed(visible, scope)[0] == {("new.default.svc.cluster.local", "default")}


def test_a_sidecar_of_two_namespaces_never_hears_of_others() -> None:
    world = World(service("a", HTTP, namespace="one") + sidecar("one", "'./*', 'istio-system/*'"))
    scope = Scope("one", Key("one", "default"))
    world.map(visible, scope)
    with world.counting() as runs:
        world.apply(service("b", HTTP, namespace="two"))
    assert not [name for name in runs if name.startswith("scope.")]
