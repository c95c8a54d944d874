"""Keyed maps made with `flat`: the union of what the children give, and whose value it is."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.graph import Failure, Graph, Lease, Plan, Q, flat, keyed, query
from tests.unit.graph.town import content, numbers, put, runs


@query
def given(q: Q, key: str) -> tuple[tuple[str, Any], ...]:
    value = q.get(numbers, key)
    if value == "boom":
        raise ValueError("boom")
    return value  # type: ignore[no-any-return]


@keyed
def union(q: Q) -> Plan:
    return flat(q.members(numbers), given)


def leased(graph: Graph) -> Lease:
    lease = graph.lease(union)
    graph.settle()
    return lease


def settled(graph: Graph, **rows: Any) -> None:
    put(graph, **rows)
    graph.settle()


def test_the_pairs_of_all_members_are_joined() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("y", 2)), b=(), c=(("z", 3),))
    assert content(leased(graph)) == {"x": 1, "y": 2, "z": 3}


def test_pairs_come_go_and_change_one_by_one() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("y", 2)), b=(("z", 3),))
    lease = leased(graph)
    with runs(graph) as ran:
        put(graph, a=(("y", 5), ("w", 6)))
    assert ran == {"given": 1}
    assert content(lease) == {"y": 5, "w": 6, "z": 3}
    delta = lease.since(1)
    assert delta is not None
    assert (delta.upserts, delta.removed) == (("w", "y"), ("x",))


def test_the_smallest_member_wins_whatever_came_first() -> None:
    for order in (("a", "b"), ("b", "a")):
        graph = Graph()
        lease = leased(graph)
        for name in order:
            settled(graph, **{name: (("x", name),)})
        assert content(lease) == {"x": "a"}


def test_the_next_member_takes_over_when_the_winner_withdraws() -> None:
    graph = Graph()
    put(graph, a=(("x", "a"),), b=(("x", "b"),), c=(("x", "c"),))
    lease = leased(graph)
    settled(graph, a=(("y", "a"),))
    assert content(lease) == {"x": "b", "y": "a"}
    settled(graph, b=None)
    assert content(lease) == {"x": "c", "y": "a"}
    settled(graph, c=())
    assert content(lease) == {"y": "a"}
    settled(graph, b=(("x", "again"),))
    assert content(lease) == {"x": "again", "y": "a"}


def test_a_loser_that_changes_or_withdraws_changes_nothing() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),), b=(("x", 2),))
    lease = leased(graph)
    settled(graph, b=(("x", 3),))
    settled(graph, b=None)
    delta = lease.since(1)
    assert delta is not None and not delta.upserts and not delta.removed
    settled(graph, a=(("x", 9),))
    assert content(lease) == {"x": 9}


def test_a_smaller_member_takes_the_key_over() -> None:
    graph = Graph()
    put(graph, b=(("x", "b"),))
    lease = leased(graph)
    settled(graph, a=(("x", "a"),))
    assert content(lease) == {"x": "a"}


def test_a_takeover_with_an_equal_value_is_no_change() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),), b=(("x", 1),))
    lease = leased(graph)
    settled(graph, a=None)
    delta = lease.since(1)
    assert delta is not None and not delta.upserts
    assert content(lease) == {"x": 1}


def test_a_pair_with_none_claims_nothing() -> None:
    graph = Graph()
    put(graph, a=(("x", None),), b=(("x", "b"),))
    assert content(leased(graph)) == {"x": "b"}


def test_a_failed_member_gives_nothing_and_its_rivals_take_over() -> None:
    graph = Graph()
    put(graph, a=(("x", "a"), ("y", "a")), b=(("x", "b"),))
    lease = leased(graph)
    settled(graph, a="boom")
    assert content(lease) == {"x": "b"}
    assert isinstance(lease.failed("y"), Failure)
    assert lease.failed("z") is None
    settled(graph, a=(("y", "mended"),))
    assert content(lease) == {"x": "b", "y": "mended"}
    assert lease.failed("y") is None


def test_what_a_member_gave_is_remembered_while_it_keeps_failing() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),))
    lease = leased(graph)
    settled(graph, a="boom")
    settled(graph, a=("odd",))  # it fails in another way
    assert lease.failed("x") is not None
    settled(graph, a=None)
    assert lease.failed("x") is None


@pytest.mark.parametrize("bad", [("odd",), (("x", 1, 2),), (([], 1),), 7])
def test_a_child_that_does_not_give_pairs_fails_alone(bad: Any) -> None:
    graph = Graph()
    put(graph, a=bad, b=(("x", "b"),))
    lease = leased(graph)
    assert content(lease) == {"x": "b"}
    settled(graph, a=(("y", "a"),))
    assert content(lease) == {"x": "b", "y": "a"}


def test_members_that_cannot_be_compared_fail_where_they_contend() -> None:
    graph = Graph()
    graph.commit([(numbers, 1, (("x", 1), ("y", 1))), (numbers, "a", (("x", "a"), ("w", "a")))])
    lease = leased(graph)
    kept = content(lease)
    assert kept in ({"x": 1, "y": 1}, {"x": "a", "w": "a"})
    graph.commit([(numbers, 1, None)])
    graph.settle()
    graph.commit([(numbers, "a", (("z", "a"),))])
    graph.settle()
    assert content(lease) == {"z": "a"}
