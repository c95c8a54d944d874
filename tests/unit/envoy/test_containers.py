"""From containers to what Envoy gets: names by Host, connections by address, versions, health, mutual TLS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.model.kinds import BY_NAME
from controlplane.sources.docker.container import Attachment, Container
from tests.support.containers import container, described, meshed
from tests.unit.envoy.traffic import Traffic, clusters, domains, virtual_service


class Containers(Traffic):
    """The mesh of some containers; what was there before and is not given again is gone."""

    def __init__(self, *containers: Container) -> None:
        super().__init__()
        self._there: set[tuple[str, Any]] = set()
        self.run(*containers)

    def run(self, *containers: Container) -> None:
        writes: dict[tuple[str, Any], Any] = {}
        for raw in described(*containers).objects:
            parsed = BY_NAME[raw["kind"]].parse(raw)
            assert parsed.value is not None, parsed.problems
            writes[raw["kind"], parsed.key] = parsed.value
        gone = dict.fromkeys(self._there - writes.keys())
        self.graph.commit(
            [(BY_NAME[kind].table, key, value) for (kind, key), value in (gone | writes).items()]
        )
        self._there = set(writes)

    def hosts(self, route: str) -> dict[str, str]:
        """Short name -> cluster, of a route configuration."""
        found = {host.name: clusters(host.routes[0])[0][0] for host in self.routes()[route].virtual_hosts}
        return {name.partition(".")[0]: cluster for name, cluster in found.items()}

    def goes(self, cluster: str) -> dict[str, bool]:
        """Address -> whether mutual TLS is spoken, of the endpoints that may be used."""
        load = self.assignments()[cluster]
        return {
            one.endpoint.address.socket_address.address: "istio" in str(one.metadata)
            for part in load.endpoints
            for one in part.lb_endpoints
            if one.health_status in (0, 1)
        }


def cluster(host: str, port: int, subset: str = "") -> str:
    return f"outbound|{port}|{subset}|{host}.default.svc.cluster.local"


def reviews(number: int, **said: Any) -> list[Container]:
    return meshed(f"reviews-v{number}", f"172.18.0.1{number}", aliases=["reviews"], ports=(9080,), **said)


@pytest.fixture
def mesh() -> Containers:
    return Containers(
        *reviews(1), *reviews(2), *reviews(3), container("ratings", "172.18.0.20", ports=(9080,))
    )


def test_every_name_is_found_by_host_at_any_address_that_is_not_known(mesh: Containers) -> None:
    assert "0.0.0.0_9080" in mesh.listeners()
    hosts = mesh.hosts("9080")
    for name in ("reviews", "reviews-v1", "reviews-v2", "reviews-v3", "ratings"):
        assert hosts[name] == cluster(name, 9080)


def test_every_name_is_found_by_host_at_each_known_address(mesh: Containers) -> None:
    """Docker's DNS gives a container's address for all of its names."""
    for number in (1, 2, 3):
        listener = mesh.listeners()[f"172.18.0.1{number}_9080"]
        assert "reviews.default.svc.cluster.local:9080" in str(listener.filter_chains[0])
    hosts = mesh.hosts("reviews.default.svc.cluster.local:9080")
    for number in (1, 2, 3):
        assert hosts[f"reviews-v{number}"] == cluster(f"reviews-v{number}", 9080)
    found = domains(mesh.routes()["reviews.default.svc.cluster.local:9080"])
    assert "reviews-v1" in found["reviews-v1.default.svc.cluster.local:9080"]


def test_connections_find_their_service_by_the_address_they_dial() -> None:
    said = {"mini-istiod.protocol": "tcp"}
    mesh = Containers(*meshed("db", "172.18.0.2", ports=(5432,), labels=said))
    listener = mesh.listeners()["172.18.0.2_5432"]
    assert not listener.filter_chains
    assert cluster("db", 5432) in str(listener.default_filter_chain)
    assert mesh.goes(cluster("db", 5432)) == {"172.18.0.2": True}


def test_two_services_with_one_port_do_not_collide() -> None:
    said = {"mini-istiod.protocol": "tcp"}
    mesh = Containers(
        *meshed("one", "172.18.0.2", ports=(5432,), labels=said),
        *meshed("two", "172.18.0.3", ports=(5432,), labels=said),
    )
    for name, address in (("one", "172.18.0.2"), ("two", "172.18.0.3")):
        assert cluster(name, 5432) in str(mesh.listeners()[f"{address}_5432"].default_filter_chain)
    assert "0.0.0.0_5432" not in mesh.listeners()


def test_a_version_is_a_subset(mesh: Containers) -> None:
    mesh.apply(
        """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews, subsets: [{name: v2, labels: {version: v2}}]}
---
"""
        + virtual_service("v", "[reviews]", "[{route: [{destination: {host: reviews, subset: v2}}]}]")
    )
    assert mesh.goes(cluster("reviews", 9080, "v2")) == {"172.18.0.12": True}
    assert mesh.hosts("9080")["reviews"] == cluster("reviews", 9080, "v2")
    assert mesh.hosts("reviews.default.svc.cluster.local:9080")["reviews"] == cluster("reviews", 9080, "v2")


@pytest.mark.parametrize("said", [{"health": "unhealthy"}, {"stopping": True}, {"state": "exited"}])
def test_who_is_not_well_gets_nothing(mesh: Containers, said: dict[str, Any]) -> None:
    assert set(mesh.goes(cluster("reviews", 9080))) == {"172.18.0.11", "172.18.0.12", "172.18.0.13"}
    mesh.run(*reviews(1), *reviews(2, **said), *reviews(3))
    assert set(mesh.goes(cluster("reviews", 9080))) == {"172.18.0.11", "172.18.0.13"}
    # His name stays one of the mesh, and calls to it fail at once.
    assert mesh.goes(cluster("reviews-v2", 9080)) == {}


def test_health_changes_endpoints_and_nothing_else(mesh: Containers) -> None:
    before = (mesh.listener_resources(), mesh.route_resources())
    mesh.run(
        *reviews(1),
        *reviews(2, health="unhealthy"),
        *reviews(3),
        container("ratings", "172.18.0.20", ports=(9080,)),
    )
    assert (mesh.listener_resources(), mesh.route_resources()) == before


def test_who_is_not_in_the_mesh_is_called_in_plaintext(mesh: Containers) -> None:
    assert mesh.goes(cluster("ratings", 9080)) == {"172.18.0.20": False}
    assert mesh.goes(cluster("reviews", 9080)) == {f"172.18.0.1{n}": True for n in (1, 2, 3)}


def test_a_new_address_after_a_restart(mesh: Containers) -> None:
    moved = [replace(one, networks=_at(one, "172.18.0.99")) for one in reviews(2)]
    mesh.run(*reviews(1), *moved)
    assert set(mesh.goes(cluster("reviews", 9080))) == {"172.18.0.11", "172.18.0.99"}
    assert {name for name in mesh.listeners() if name.startswith("172")} == {
        "172.18.0.11_9080",
        "172.18.0.99_9080",
    }


def _at(one: Container, address: str) -> tuple[Attachment, ...]:
    return tuple(each._replace(address=address) for each in one.networks)


def test_a_proxy_that_does_not_know_its_address_answers_for_its_container(mesh: Containers) -> None:
    inbound = mesh.view("sidecar~0.0.0.0~reviews-v2.default~default.svc.cluster.local").inbound
    assert inbound is not None
    (binding,) = inbound.bindings
    # Of the names of a container the one of most containers stands for it.
    assert (binding.service.host, binding.target) == ("reviews.default.svc.cluster.local", 9080)


def test_a_name_with_an_underscore_and_one_with_dots() -> None:
    mesh = Containers(*meshed("web", "172.18.0.2", aliases=["my_web", "shop.example.com"], ports=(80,)))
    mesh.apply(virtual_service("v", "[my_web]", "[{timeout: 3s, route: [{destination: {host: my_web}}]}]"))
    hosts = {name: host for host in mesh.routes()["80"].virtual_hosts for name in host.domains}
    assert hosts["my_web"].routes[0].route.timeout.seconds == 3
    assert hosts["my_web"].routes[0].route.cluster == cluster("my_web", 80)
    assert hosts["shop.example.com"].routes[0].route.cluster == "outbound|80||shop.example.com"
    assert mesh.goes("outbound|80||shop.example.com") == {"172.18.0.2": True}
