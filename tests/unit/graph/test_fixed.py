"""A map whose members are named by its arguments: `q.fixed`."""

from __future__ import annotations

from controlplane.graph import Graph, Plan, Q, each, keyed, query


@query
def pair(q: Q, left: str, right: str) -> tuple[str, str]:
    return (left, right)


@keyed
def pairs(q: Q, left: str) -> Plan:
    return each(q.fixed("x", "y"), pair, left)


def test_the_members_are_the_fixed_keys() -> None:
    graph = Graph(paranoid=True)
    lease = graph.lease(pairs, "a")
    graph.settle()
    assert {key: lease.get(key) for key in lease.keys()} == {"x": ("a", "x"), "y": ("a", "y")}


def test_maps_share_the_collection_and_it_is_freed_with_the_last() -> None:
    graph = Graph()
    leases = [graph.lease(pairs, left) for left in "ab"]
    graph.settle()
    assert len(graph.constants) == 1
    for lease in leases:
        lease.release()
    graph.sweep()
    assert graph.size() == 0
