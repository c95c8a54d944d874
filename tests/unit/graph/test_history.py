"""The change log of a leased map, and what `since` makes of it."""

from __future__ import annotations

from controlplane.graph import Delta, Graph, Plan, Q, each, keyed, query
from controlplane.graph.history import History
from tests.unit.graph.town import numbers, put


@query
def doubled(q: Q, key: str) -> int | None:
    value = q.get(numbers, key)
    return None if value == 0 else 2 * value


@keyed
def all_doubled(q: Q) -> Plan:
    return each(q.members(numbers), doubled)


def test_since_tells_what_changed_after_a_revision() -> None:
    graph = Graph()
    put(graph, a=1, b=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    for change in ({"a": 2}, {"c": 3}, {"b": None}):
        put(graph, **change)
        graph.settle()
    assert lease.since(1) == Delta(("a", "c"), ("b",))
    assert lease.since(2) == Delta(("c",), ("b",))
    assert lease.since(3) == Delta((), ("b",))
    assert lease.since(4) == Delta((), ())


def test_since_before_the_lease_is_unknown() -> None:
    graph = Graph()
    put(graph, a=1)
    put(graph, b=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    assert lease.since(1) is None
    assert lease.since(2) == Delta((), ())


def test_building_the_map_is_no_change() -> None:
    graph = Graph()
    put(graph, a=1, b=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    assert lease.since(graph.revision) == Delta((), ())


def test_changes_of_one_key_are_told_once() -> None:
    graph = Graph()
    lease = graph.lease(all_doubled)
    for value in (1, 2, 3):
        put(graph, a=value)
        graph.settle()
    assert lease.since(0) == Delta(("a",), ())


def test_commits_that_were_settled_together_are_told_together() -> None:
    graph = Graph()
    put(graph, a=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    put(graph, a=2)
    put(graph, b=1)
    graph.settle()
    assert lease.since(1) == Delta(("a", "b"), ())


def test_a_key_that_came_and_went_is_among_the_removed_though_nobody_knew_it() -> None:
    graph = Graph()
    put(graph, a=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    put(graph, b=1)
    graph.settle()
    put(graph, b=None)
    graph.settle()
    assert lease.since(1) == Delta((), ("b",))


def test_what_changed_there_and_back_between_settles_is_not_told() -> None:
    graph = Graph()
    put(graph, a=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    put(graph, a=2, b=2)
    put(graph, a=1, b=None)
    graph.settle()
    assert lease.since(1) == Delta((), ())


def test_a_value_that_becomes_none_is_removed() -> None:
    graph = Graph()
    put(graph, a=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    put(graph, a=0)
    graph.settle()
    assert lease.since(1) == Delta((), ("a",))


def test_a_second_lease_shares_the_history_and_outlives_the_first() -> None:
    graph = Graph()
    first = graph.lease(all_doubled)
    graph.settle()
    put(graph, a=1)
    graph.settle()
    second = graph.lease(all_doubled)
    first.release()
    put(graph, b=1)
    graph.settle()
    assert second.since(0) == Delta(("a", "b"), ())


def test_the_log_forgets_the_oldest_when_it_grows() -> None:
    history = History(0, bound=4)
    for revision, key in enumerate("abcd", 1):
        history.record([key], revision)
    assert history.floor == 0
    history.record(["e"], 5)
    assert len(history) == 2
    assert history.floor == 3
    assert history.since(2) is None
    assert history.since(3) == ["e", "d"]
    assert history.since(5) == []


def test_a_revision_is_forgotten_as_a_whole() -> None:
    history = History(0, bound=4)
    history.record("abcdef", 1)
    assert history.since(0) is None
    assert history.since(1) == []
    assert len(history) == 0
    history.record("a", 2)
    assert history.since(1) == ["a"]


def test_a_key_that_changes_again_is_not_forgotten_with_its_old_revision() -> None:
    history = History(0, bound=4)
    for revision, key in enumerate("abcdae", 1):
        history.record([key], revision)
    assert history.floor == 4
    assert history.since(4) == ["e", "a"]


def test_a_change_at_the_floor_is_not_recorded() -> None:
    history = History(3)
    history.record(["a"], 3)
    assert history.since(3) == []
    assert len(history) == 0
