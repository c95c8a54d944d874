"""What is built once and shared, and what a change does not touch: counted, not timed."""

from __future__ import annotations

import random

import pytest

from controlplane.envoy.feeds import feeds
from controlplane.envoy.routes import port_routes, virtual_host_frame
from controlplane.graph import Q, query
from controlplane.mesh.projections import RouteScope, Scope
from controlplane.mesh.routing_hosts import host_spec, unregistered_spec
from controlplane.mesh.routing_unregistered import unregistered
from controlplane.mesh.scope import ports
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import Traffic, domains, virtual_service
from tests.unit.mesh.world import ProxyView, pod, service, slice_of

SPACES = ("default", "prod", "stage")
HOST = "s1.prod.svc.cluster.local"


def canary(name: str, weight: int, **spec: str) -> str:
    shares = (
        f"[{{route: [{{destination: {{host: {name}, subset: v1}}, weight: {weight}}}, "
        f"{{destination: {{host: {name}, subset: v2}}, weight: {100 - weight}}}]}}]"
    )
    return virtual_service(name, f"[{name}]", shares, **{"namespace": "prod", **spec})


@pytest.fixture
def world() -> Traffic:
    made = Traffic(
        "".join(service(f"s{n}", "http=9080", namespace=SPACES[n % 3], ip=f"10.96.0.{n}") for n in range(9))
        + canary("s1", 90)
        + slice_of("s1", "10.0.0.1", namespace="prod")
        + pod("s1-1", "10.0.0.1", "app: s1", namespace="prod")
    )
    for space in SPACES:
        made.routes(space), made.listeners(space)
    return made


def read_all(world: Traffic) -> None:
    for space in SPACES:
        world.routes(space), world.listeners(space)


def test_one_edit_of_a_virtual_service_serializes_its_virtual_host_and_joins_one_frame_per_scope(
    world: Traffic,
) -> None:
    with world.counting() as runs:
        world.apply(canary("s1", 50))
        read_all(world)
    # Once for its own namespace, whose clients know a shorter name, and once for all others.
    assert runs["routes.virtual_host_frame"] == 2
    assert runs["routes.port_routes"] == len(SPACES)
    assert runs["routing_http.http_routes"] == 1
    assert not [name for name in runs if name.startswith("listeners")]


def test_a_new_http_service_touches_no_listener(world: Traffic) -> None:
    before = {space: world.listener_resources(space) for space in SPACES}
    with world.counting() as runs:
        world.apply(service("new", "http=9080", ip="10.96.0.99"))
        read_all(world)
    assert not runs["listeners_outbound.outbound_listener"]
    assert runs["routes.virtual_host_frame"] == 2
    for space in SPACES:
        after = world.listener_resources(space)
        assert all(after[name] is one for name, one in before[space].items())


def test_endpoints_touch_neither_routes_nor_listeners(world: Traffic) -> None:
    with world.counting() as runs:
        world.apply(slice_of("s1", "10.0.0.1, 10.0.0.2", namespace="prod"))
        read_all(world)
    assert not [name for name in runs if name.startswith(("routes", "routing", "listeners"))]


def test_an_equal_edit_ends_at_once(world: Traffic) -> None:
    with world.counting() as runs:
        world.apply(canary("s1", 90))
        read_all(world)
    assert not runs


def test_a_change_on_another_port_leaves_this_one_alone(world: Traffic) -> None:
    with world.counting() as runs:
        world.apply(service("new", "http=1234", ip="10.96.0.99"))
        read_all(world)
    assert runs["routes.port_routes"] == len(SPACES)
    assert set(world.routes("prod")) == {"9080", "1234"}


def test_scopes_share_virtual_hosts_and_listeners(world: Traffic) -> None:
    with world.counting() as runs:
        world.routes("a"), world.routes("b"), world.listeners("a"), world.listeners("b")
    assert not runs["routes.virtual_host_frame"]
    assert not runs["listeners_outbound.outbound_listener"]
    first, second = world.listener_resources("a"), world.listener_resources("b")
    assert all(first[name] is second[name] for name in first)


def test_nothing_is_left_when_all_is_let_go(world: Traffic) -> None:
    for lease in world.leases.values():
        lease.release()
    world.graph.sweep()
    assert world.graph.size() == 0


@query
def every_frame(q: Q, scope: RouteScope, port: int) -> frozenset[bytes]:
    """The virtual hosts of a port, one by one and without any sharing of members."""
    specs = [host_spec(q, scope, port, id) for id in q.keys(q.part(ports, (scope.scope,), port))]
    specs += [unregistered_spec(q, scope, port, item) for item in q.keys(q.part(unregistered, (), port))]
    return frozenset(q(virtual_host_frame, spec) for spec in specs if spec is not None)


def test_what_is_common_and_what_is_particular_are_together_everything() -> None:
    """Random meshes with everything that makes services particular: the split must not be seen."""
    chance = random.Random(7)
    world = Traffic(paranoid=True)
    for _ in range(60):
        world.apply(random_object(chance))
        for space in SPACES:
            for sidecar in (None, Key(space, "narrow")):
                scope = RouteScope(Scope(space, sidecar))
                for port in (80, 9080):
                    expected = world.read(every_frame, scope, port)
                    joined = world.read(port_routes, scope, port).body
                    assert all(frame in joined for frame in expected)
                view = ProxyView(scope.scope, None)
                for config in world.routes(view).values():
                    hosts = len(domains(config))
                    if config.name.isdigit():
                        assert hosts == len(world.read(every_frame, scope, int(config.name))) + 1


def yaml_of(kind: str, name: str, namespace: str, spec: str) -> str:
    return (
        f"apiVersion: networking.istio.io/v1\nkind: {kind}\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n---\n"
    )


def random_object(chance: random.Random) -> str:
    space = chance.choice(SPACES)
    name = chance.choice("abc")
    export = chance.choice(("", "['.']", "[prod]", "['*']"))
    kind = chance.randrange(5)
    if kind == 0:
        port = chance.choice(("http=80", "http=9080", "web=80", "http=80, http-b=9080", "tcp=80"))
        return service(name, port, namespace=space, ip=f"10.96.0.{chance.randrange(1, 4)}")
    if kind == 1:
        wild = ("'*.svc.cluster.local'", "'*.com'")
        hosts = chance.choice((name, f"{name}.{space}", f"{name}, x.com", *wild))
        match = chance.choice(("", "sourceNamespace: prod", "sourceLabels: {app: a}"))
        http = f"[{{match: [{{{match}}}], route: [{{destination: {{host: {name}}}}}]}}]"
        spec = {"exportTo": export} if export else {}
        return virtual_service(chance.choice("uvw"), f"[{hosts}]", http, namespace=space, **spec)
    if kind == 2:
        hosts = chance.choice(
            (f"{name}.{space}", "x.com", f"{name}.{space}.svc.cluster.local", "'*.com', y.com")
        )
        ports = f"ports: [{{number: {chance.choice((80, 9080))}, name: p, protocol: HTTP}}]"
        more = f", exportTo: {export}" if export else ""
        spec_ = f"hosts: [{hosts}], resolution: NONE, addresses: [10.96.0.1], {ports}{more}"
        return yaml_of("ServiceEntry", chance.choice("ef"), space, spec_)
    if kind == 3:
        balancer = chance.choice(("consistentHash: {useSourceIp: true}", "simple: RANDOM"))
        spec_ = f"host: {name}, trafficPolicy: {{loadBalancer: {{{balancer}}}}}"
        return yaml_of("DestinationRule", name, space, spec_)
    hosts = chance.choice(("./*", "prod/*", "*/x.com"))
    return yaml_of("Sidecar", "narrow", space, f"egress: [{{hosts: ['{hosts}']}}]")


def policy(kind: str, spec: str, namespace: str = "istio-system") -> str:
    meta = f"{{name: it, namespace: {namespace}, creationTimestamp: ''}}"
    return f"---\napiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {meta}\nspec: {spec}\n"


def read_proxies(world: Traffic) -> None:
    """All that two workloads of each namespace have, after the projections were made anew."""
    for n in range(6):
        view = world.view(f"sidecar~10.0.9.{n}~w{n}.{SPACES[n % 3]}~{SPACES[n % 3]}.svc.cluster.local")
        for maps in feeds(view).values():
            world.resources(maps)


@pytest.fixture
def workloads(world: Traffic) -> Traffic:
    world.apply(
        "".join(
            slice_of(f"s{n}", f"10.0.9.{n}", namespace=SPACES[n % 3])
            + pod(f"w{n}", f"10.0.9.{n}", f"app: s{n}", namespace=SPACES[n % 3])
            for n in range(6)
        )
    )
    read_proxies(world)
    return world


def test_a_policy_on_requests_is_joined_to_routes_and_no_virtual_host_is_written(workloads: Traffic) -> None:
    def paths(path: str) -> str:
        return policy("AuthorizationPolicy", f"{{rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}")

    workloads.apply(paths("/a"))
    read_proxies(workloads)
    with workloads.counting() as runs:
        workloads.apply(paths("/b"))
        read_proxies(workloads)
    assert runs["authorization_routes._policies"] == 1
    assert runs["routes._inbound_routes"] == 6
    assert not runs["routes._inbound_frame"]
    assert not [name for name in runs if name.startswith(("listeners", "clusters", "proxies"))]


def test_how_connections_are_taken_touches_neither_inbound_clusters_nor_routes(workloads: Traffic) -> None:
    with workloads.counting() as runs:
        workloads.apply(policy("PeerAuthentication", "{mtls: {mode: STRICT}}"))
        read_proxies(workloads)
    assert runs["listeners_inbound._inbound_listener"] == 6
    touched = [name for name in runs if name.startswith(("inbound_clusters", "routes", "authorization"))]
    assert not touched
