"""Commits: one batch is one revision, or none at all."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.graph import Graph, Q, Table, query
from tests.unit.graph.town import House, graph_with, houses, numbers, put, runs

fussy = Table("fussy", indexes={"first": lambda key, value: (value[0],)}, labels=lambda value: value[1])


@query
def seen(q: Q, *names: str) -> tuple[Any, ...]:
    return tuple(q.get(numbers, name) for name in names)


@query
def first(q: Q, letter: str) -> tuple[str, ...]:
    return q.index(fussy, "first", letter)


def test_a_batch_is_one_revision() -> None:
    graph = Graph()
    assert put(graph, a=1, b=2) == 1
    assert put(graph, a=2) == 2
    assert graph.revision == 2


def test_equal_values_make_no_revision() -> None:
    graph = graph_with(a=1)
    assert put(graph, a=1, b=None) == 1
    assert graph.commit([]) == 1


def test_an_equal_value_keeps_the_old_object() -> None:
    graph = Graph()
    old = House()
    graph.commit([(houses, "x", old)])
    assert graph.commit([(houses, "x", House())]) == 1
    assert graph.rows(houses).values["x"] is old


def test_one_change_among_equal_values_makes_a_revision() -> None:
    graph = graph_with(a=1, b=1)
    assert put(graph, a=1, b=2) == 2


def test_the_last_write_of_a_key_counts() -> None:
    graph = Graph()
    graph.commit([(numbers, "a", 1), (numbers, "a", 2), (numbers, "b", 1), (numbers, "b", None)])
    assert graph.read(seen, "a", "b") == (2, None)


def test_a_write_that_returns_to_the_old_value_within_a_batch_is_followed_by_indexes() -> None:
    graph = Graph()
    graph.commit([(fussy, "x", ("a", None))])
    lease = graph.lease(first, "a")
    graph.settle()
    graph.commit([(fussy, "x", ("b", None)), (fussy, "x", ("a", None))])
    graph.settle()
    assert lease.value == ("x",)


def test_a_batch_is_seen_as_a_whole() -> None:
    graph = graph_with(a=1, b=1)
    lease = graph.lease(seen, "a", "b")
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=2, b=2)
    assert ran == {"seen": 1}
    assert lease.value == (2, 2)


@pytest.mark.parametrize("bad", [(), 7, ("b",)])
def test_a_row_that_its_table_cannot_index_refuses_the_batch(bad: Any) -> None:
    graph = Graph()
    graph.commit([(fussy, "x", ("a", None))])
    lease = graph.lease(first, "a")
    graph.settle()
    with pytest.raises((TypeError, IndexError)):
        graph.commit([(fussy, "x", ("b", None)), (numbers, "n", 1), (fussy, "y", bad)])
    assert graph.revision == 1
    assert graph.rows(numbers).values == {}
    with runs(graph) as ran:
        graph.settle()
    assert not ran
    assert lease.value == ("x",)
    assert graph.commit([(fussy, "y", ("a", None))]) == 2
    graph.settle()
    assert lease.value == ("x", "y")


def test_a_key_that_cannot_be_hashed_refuses_the_batch() -> None:
    graph = Graph()
    with pytest.raises(TypeError):
        graph.commit([(numbers, "a", 1), (numbers, [], 1)])
    assert graph.rows(numbers).values == {}
