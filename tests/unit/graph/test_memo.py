"""Memos: what runs again, what is only validated, and what is not even looked at."""

from __future__ import annotations

import pytest

from controlplane.base.errors import QueryFailed
from controlplane.graph import Graph, Q, query
from tests.unit.graph.town import graph_with, numbers, put, runs


@query
def number(q: Q, name: str) -> int:
    return q.get(numbers, name) or 0


@query
def is_even(q: Q, name: str) -> bool:
    return q(number, name) % 2 == 0


@query
def verdict(q: Q, name: str) -> list[str]:
    return ["even" if q(is_even, name) else "odd"]


@query
def total(q: Q, *names: str) -> int:
    return sum(q(number, name) for name in names)


@query
def chosen(q: Q) -> int:
    return q(number, "a") if q(number, "switch") else q(number, "b")


def test_a_query_runs_once_however_often_it_is_read() -> None:
    graph = graph_with(a=1)
    with runs(graph) as ran:
        assert graph.read(total, "a", "a") == 2
        assert graph.read(total, "a", "a") == 2
    assert ran == {"total": 1, "number": 1}


def test_a_change_runs_what_read_the_row_and_nothing_else() -> None:
    graph = graph_with(a=1, b=2)
    leases = [graph.lease(total, "a"), graph.lease(total, "b")]
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=5)
    assert ran == {"number": 1, "total": 1}
    assert [lease.value for lease in leases] == [5, 2]


def test_an_equal_result_stops_the_wave() -> None:
    graph = graph_with(a=1)
    lease = graph.lease(verdict, "a")
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=3)
    assert ran == {"number": 1, "is_even": 1}
    assert lease.value == ["odd"]
    assert graph.counters.equal == 1


def test_an_equal_result_keeps_the_old_object() -> None:
    graph = graph_with(a=1, b=2)
    lease = graph.lease(as_list, "a", "b")
    graph.settle()
    before = lease.value
    put(graph, a=2, b=1)
    graph.settle()
    assert lease.value is before


@query
def as_list(q: Q, *names: str) -> list[int]:
    return sorted(q(number, name) for name in names)


def test_what_was_cut_off_counts_as_old_for_readers_that_come_later() -> None:
    """Backdating: an equal result has not changed, so a validation above it does not run anything."""
    graph = graph_with(a=1)
    first = graph.lease(is_even, "a")
    graph.settle()
    second = graph.lease(verdict, "a")
    graph.settle()
    put(graph, a=3)
    with runs(graph) as ran:
        graph.settle()
    assert "verdict" not in ran
    assert (first.value, second.value) == (False, ["odd"])


def test_a_result_that_changes_there_and_back_between_settles_runs_nothing_above() -> None:
    graph = graph_with(a=1)
    graph.lease(verdict, "a")
    graph.settle()
    put(graph, a=2)
    put(graph, a=1)
    with runs(graph) as ran:
        graph.settle()
    assert ran == {"number": 1}


def test_an_unrelated_change_validates_nothing() -> None:
    graph = graph_with(a=1)
    graph.lease(verdict, "a")
    graph.settle()
    validated = graph.counters.validated
    with runs(graph) as ran:
        put(graph, b=1)
    assert not ran
    assert graph.counters.validated == validated


def test_dependencies_are_validated_in_the_order_in_which_they_were_read() -> None:
    """The second was read only because of what the first said, so it must not run when that changed."""
    graph = graph_with(switch=1, a=10, b=20)
    lease = graph.lease(guarded)
    graph.settle()
    assert lease.value == 10
    with runs(graph) as ran:
        put(graph, switch=0, a=-1)
    assert lease.value == 0
    assert "positive" not in ran


@query
def positive(q: Q, name: str) -> int:
    value: int = q.get(numbers, name)
    if value < 0:
        raise ValueError("negative")
    return value


@query
def guarded(q: Q) -> int:
    return q(positive, "a") if q(number, "switch") else 0


def test_what_is_not_read_any_more_is_no_dependency_any_more() -> None:
    graph = graph_with(switch=1, a=10, b=20)
    lease = graph.lease(chosen)
    graph.settle()
    put(graph, switch=0)
    graph.settle()
    assert lease.value == 20
    with runs(graph) as ran:
        put(graph, a=11)
    assert not ran
    with runs(graph) as ran:
        put(graph, b=21)
    assert ran == {"number": 1, "chosen": 1}


def test_a_new_dependency_is_followed() -> None:
    graph = graph_with(switch=1, a=10, b=20)
    lease = graph.lease(chosen)
    graph.settle()
    put(graph, switch=0)
    graph.settle()
    put(graph, b=99)
    graph.settle()
    assert lease.value == 99


def test_arguments_are_given_by_position_only() -> None:
    @query
    def by_name(q: Q) -> int:
        return q(number, name="a")

    with pytest.raises(QueryFailed, match="unexpected keyword"):
        Graph().read(by_name)


def test_queries_of_one_name_are_told_apart() -> None:
    def make(result: int) -> object:
        @query
        def same(q: Q) -> int:
            return result

        return same

    graph = Graph()
    assert [graph.read(make(1)), graph.read(make(2))] == [1, 2]  # type: ignore[arg-type]
