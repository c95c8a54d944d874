"""What one change costs, counted: queries run and messages serialized, in a mesh with many scopes.

Counts are the same on every machine, so they can be asserted where times cannot.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.graph import Graph
from controlplane.lab.churn.mesh import Mesh, Raw, unrelated
from controlplane.mesh.proxies import proxy_view
from controlplane.model.kinds import BY_NAME
from controlplane.model.locality import Locality
from controlplane.model.proxy import parse_node

SMALL, LARGE = Mesh(services=40, namespaces=10), Mesh(services=160, namespaces=10)


@dataclass
class Cost:
    """Of one change."""

    queries: Counter[str]
    serialised: int
    names: list[str]
    """Of the resources that changed, one for each scope that sees it."""


class Plant:
    """A settled graph with one proxy per namespace."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.graph = Graph()
        self.graph.commit([self._write(raw) for raw in mesh.objects()])
        self.leases = []
        for number in range(mesh.namespaces):
            node = mesh.node(number).as_json()
            view = self.graph.lease(
                proxy_view, parse_node(node["id"], node["metadata"], Locality("", "", ""))
            )
            self.graph.settle()
            for maps in feeds(view.value).values():
                self.leases += [self.graph.lease(keyed, *args) for keyed, args in maps]
        self.graph.settle()

    def _write(self, raw: Raw):
        parsed = BY_NAME[raw["kind"]].parse(raw)
        return BY_NAME[raw["kind"]].table, parsed.key, parsed.value

    def change(self, raw: Raw, monkeypatch: pytest.MonkeyPatch) -> Cost:
        serialised: list[object] = []
        serialise = pb.deterministic
        before, revision = Counter(self.graph.counters.by_query), self.graph.revision
        with monkeypatch.context() as patch:
            patch.setattr(
                pb, "deterministic", lambda message: serialised.append(message) or serialise(message)
            )
            self.graph.commit([self._write(raw)])
            assert self.graph.settle()
        changed = [lease.since(revision) for lease in self.leases]
        assert all(delta.removed == () for delta in changed)
        return Cost(
            Counter(self.graph.counters.by_query) - before,
            len(serialised),
            [name for delta in changed for name in delta.upserts],
        )


@pytest.fixture(scope="module")
def plants() -> tuple[Plant, Plant]:
    return Plant(SMALL), Plant(LARGE)


def in_both(plants: tuple[Plant, Plant], change, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """The cost of a change that was made before once, which must not depend on the size of the mesh."""
    for plant in plants:
        plant.change(change(plant.mesh, 1), monkeypatch)
    small, large = (plant.change(change(plant.mesh, 2), monkeypatch) for plant in plants)
    assert large == small
    return small


def test_an_endpoint_change_serializes_one_resource(plants, monkeypatch) -> None:
    cost = in_both(plants, lambda mesh, n: mesh.slice(5, n), monkeypatch)
    assert cost.serialised == 1
    assert set(cost.names) == {"outbound|9080||s5.ns5.svc.cluster.local"}
    assert len(cost.names) == SMALL.namespaces
    # One each: from the slice to the one resource that all scopes share.
    assert set(cost.queries.values()) == {1}
    assert len(cost.queries) <= 6


def test_a_destination_rule_serializes_the_two_sides_of_its_service(plants, monkeypatch) -> None:
    cost = in_both(plants, lambda mesh, n: mesh.destination_rule(5, 100 + n), monkeypatch)
    assert cost.serialised == 2
    # Proxy 5 is a pod of that service: its connection pool is limited, too.
    assert Counter(cost.names) == {
        "outbound|9080||s5.ns5.svc.cluster.local": SMALL.namespaces,
        "inbound|9080||": 1,
    }


def test_a_virtual_service_serializes_virtual_hosts_not_route_configurations(plants, monkeypatch) -> None:
    cost = in_both(plants, lambda mesh, n: mesh.virtual_service(0, 20 + n), monkeypatch)
    assert cost.serialised <= 4
    assert cost.names == ["9080"] * SMALL.namespaces


def test_an_unrelated_object_costs_nothing(plants, monkeypatch) -> None:
    cost = in_both(plants, lambda mesh, n: unrelated(n), monkeypatch)
    assert cost == Cost(Counter(), 0, [])


def test_an_object_written_anew_costs_nothing(plants, monkeypatch) -> None:
    cost = in_both(plants, lambda mesh, n: mesh.service(7), monkeypatch)
    assert cost == Cost(Counter(), 0, [])
