"""Virtual hosts on demand: a name gets what it would have led to, and costs nothing until it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.on_demand import Ask, asked, is_askable, on_demand_hosts
from controlplane.envoy.types import LISTENER, ROUTE, VIRTUAL_HOST
from controlplane.mesh.projections import Inbound, ProxyView, RouteScope, Scope
from controlplane.mesh.routing_lookup import without_port
from tests.unit.envoy.traffic import Traffic, scope, virtual_service

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{clusterIP: {address}, selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}
---
"""
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: default}}
spec: {{hosts: ["{host}"], resolution: NONE, ports: [{{name: http, number: 80, protocol: HTTP}}]}}
---
"""


DEFAULT = scope("default")


class OnDemand(Traffic):
    """A mesh of which clients in a namespace ask for virtual hosts."""

    def ask(self, *names: str, of: RouteScope = DEFAULT) -> None:
        self.graph.commit((asked, Ask(of, name), True) for name in names)

    def found(self, of: RouteScope = DEFAULT) -> dict[str, Any]:
        """Name -> VirtualHost message."""
        maps = self.map(on_demand_hosts, of)
        return {name: pb.route_components.VirtualHost.FromString(one.body) for name, one in maps.items()}

    def cluster(self, name: str) -> str:
        self.ask(name)
        (route,) = self.found()[name].routes
        return str(route.route.cluster)


def service(name: str, namespace: str = "default", address: str = "10.96.0.1") -> str:
    return SERVICE.format(name=name, namespace=namespace, address=address)


@pytest.fixture
def mesh() -> OnDemand:
    return OnDemand(service("web") + service("far", "prod", "10.96.0.2"))


def test_nothing_is_there_until_it_is_asked_for(mesh: OnDemand) -> None:
    assert mesh.found() == {}
    mesh.ask("80/web")
    assert mesh.found().keys() == {"80/web"}
    assert mesh.found(scope("prod")) == {}, "asked for by others"


@pytest.mark.parametrize(
    "host",
    [
        "web",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "10.96.0.1",
        "web:80",
        "web:8",
    ],
)
def test_every_name_of_a_service_is_a_virtual_host_of_its_own(mesh: OnDemand, host: str) -> None:
    assert mesh.cluster(f"80/{host}") == "outbound|80||web.default.svc.cluster.local"
    found = mesh.found()[f"80/{host}"]
    # Envoy takes away by name what it was given by name; and no two may have a domain in common.
    assert (found.name, list(found.domains)) == (f"80/{host}", [host])


def test_short_names_are_those_of_the_client(mesh: OnDemand) -> None:
    assert mesh.cluster("80/far") == "PassthroughCluster"
    mesh.ask("80/far", of=scope("prod"))
    (route,) = mesh.found(scope("prod"))["80/far"].routes
    assert route.route.cluster == "outbound|80||far.prod.svc.cluster.local"


def test_the_bytes_are_those_of_the_whole_configuration_but_for_the_names(mesh: OnDemand) -> None:
    mesh.apply(virtual_service("web", "[web]", "[{timeout: 3s, route: [{destination: {host: web}}]}]"))
    mesh.ask("80/web")
    one, whole = mesh.found()["80/web"], mesh.host("80", "web.default.svc.cluster.local")
    for message in (one, whole):
        message.ClearField("name")
        message.ClearField("domains")
    assert one == whole
    assert one.routes[0].route.timeout.seconds == 3


def test_the_longest_pattern_wins_and_an_exact_name_over_all(mesh: OnDemand) -> None:
    mesh.apply(
        ENTRY.format(name="a", host="*.example.com")
        + ENTRY.format(name="b", host="*.api.example.com")
        + ENTRY.format(name="c", host="v1.api.example.com")
    )
    assert mesh.cluster("80/www.example.com") == "outbound|80||*.example.com"
    assert mesh.cluster("80/v2.api.example.com:80") == "outbound|80||*.api.example.com"
    assert mesh.cluster("80/v1.api.example.com") == "outbound|80||v1.api.example.com"
    assert mesh.cluster("80/example.com") == "PassthroughCluster"


def test_a_stranger_becomes_whoever_comes(mesh: OnDemand) -> None:
    """What an answer depends on is recorded, also where nobody was found."""
    assert mesh.cluster("80/new") == "PassthroughCluster"
    mesh.apply(service("new", address="10.96.0.9"))
    assert mesh.cluster("80/new") == "outbound|80||new.default.svc.cluster.local"
    mesh.delete("Service", "new")
    assert mesh.cluster("80/new") == "PassthroughCluster"


def test_a_sidecar_decides_about_strangers(mesh: OnDemand) -> None:
    mesh.apply(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: default}\n"
        "spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: [./*]}]}\n"
    )
    view = mesh.view("sidecar~10.0.0.1~a.default~default.svc.cluster.local")
    mesh.ask("80/far.prod", "80/web", of=view.routes)
    found = mesh.found(view.routes)
    assert found["80/far.prod"].routes[0].direct_response.status == 502
    assert found["80/web"].routes[0].route.cluster == "outbound|80||web.default.svc.cluster.local"


def test_a_port_that_is_gone_takes_its_virtual_hosts_along(mesh: OnDemand) -> None:
    mesh.ask("80/web", "81/web")
    assert mesh.found().keys() == {"80/web"}
    mesh.delete("Service", "web")
    mesh.delete("Service", "far", "prod")
    assert mesh.found() == {}


@pytest.mark.parametrize(
    "name",
    [
        *("80/*", "80/*.example.com", "80/", "/web", "web", "80", "web:80/web", "80/a/b", "80/a b"),
        *("80/a\n", "80/WEB", "80/ä", "80/" + "a" * 262),
    ],
)
def test_what_no_host_is_called_becomes_no_virtual_host(mesh: OnDemand, name: str) -> None:
    assert not is_askable(name)
    mesh.ask(name)
    assert mesh.found() == {}


def test_the_longest_name_can_be_asked_for() -> None:
    assert is_askable("80/" + "a" * 255 + ":65535")


@pytest.mark.parametrize(
    ("authority", "name"),
    [("a:80", "a"), ("A.b", "a.b"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("10.0.0.1:1", "10.0.0.1")],
)
def test_a_port_is_no_part_of_a_name(authority: str, name: str) -> None:
    assert without_port(authority) == name


def test_a_change_concerns_the_names_that_lead_there(mesh: OnDemand) -> None:
    mesh.ask("80/web", "80/web.default", "80/far.prod")
    before = mesh.map(on_demand_hosts, DEFAULT)
    with mesh.counting() as runs:
        mesh.apply(virtual_service("web", "[web]", "[{timeout: 3s, route: [{destination: {host: web}}]}]"))
    assert mesh.changed(on_demand_hosts, DEFAULT) == ({"80/web", "80/web.default"}, set())
    assert mesh.map(on_demand_hosts, DEFAULT)["80/far.prod"] is before["80/far.prod"]
    # Two names, one virtual host; nobody asked for whole route configurations.
    assert runs["on_demand.rest_of_host"] == 1
    assert runs["routes.port_routes"] == runs["routes.virtual_host_frame"] == 0


def test_a_service_that_nobody_asked_for_is_looked_up_by_nobody(mesh: OnDemand) -> None:
    mesh.ask("80/web")
    mesh.found()
    with mesh.counting() as runs:
        mesh.apply(service("other", "prod", "10.96.0.8"))
    assert mesh.changed(on_demand_hosts, DEFAULT) == (set(), set())
    assert runs["on_demand._on_demand_host"] == 0


def test_clients_of_many_scopes_share_the_routes(mesh: OnDemand) -> None:
    scopes = [scope(f"n{number}") for number in range(10)]
    for one in scopes:
        mesh.ask("80/web.default", of=one)
    with mesh.counting() as runs:
        bodies = {mesh.map(on_demand_hosts, one)["80/web.default"].body for one in scopes}
    assert len(bodies) == runs["on_demand.rest_of_host"] == 1


def test_route_configurations_are_empty_and_the_same_for_all(mesh: OnDemand) -> None:
    views = [ProxyView(Scope(name), Inbound(name, ())) for name in ("default", "prod")]
    first, second = (mesh.resources(feeds(view, on_demand=True)[ROUTE]) for view in views)
    assert first["80"] is second["80"]
    message = pb.route.RouteConfiguration.FromString(first["80"].body)
    assert not message.virtual_hosts
    assert message.vhds.config_source.HasField("ads")
    # Envoy strips ports before it looks up: then a name with a port would never be found.
    assert not message.ignore_port_in_host_matching
    # It would wait 15 s for virtual hosts that nobody sends unasked.
    assert 0 < message.vhds.config_source.initial_fetch_timeout.ToNanoseconds() < 10_000_000


def test_the_filter_stands_first(mesh: OnDemand) -> None:
    """What stands before it would not see the route's own settings on a first request."""
    view = ProxyView(Scope("default"), Inbound("default", ()))
    listeners = mesh.resources(feeds(view, on_demand=True)[LISTENER])
    listener = pb.listener.Listener.FromString(listeners["0.0.0.0_80"].body)
    manager = pb.hcm.HttpConnectionManager.FromString(listener.filter_chains[0].filters[0].typed_config.value)
    assert manager.http_filters[0].name == "envoy.filters.http.on_demand"
    plain = mesh.resources(feeds(view)[LISTENER])["0.0.0.0_80"]
    assert b"on_demand" not in plain.body


def test_who_has_them_all_is_not_concerned(mesh: OnDemand) -> None:
    sidecar = ProxyView(Scope("default"), Inbound("default", ()))
    gateway = ProxyView(Scope("default"), None)
    assert VIRTUAL_HOST not in feeds(sidecar)
    assert feeds(gateway, on_demand=True) == feeds(gateway)
