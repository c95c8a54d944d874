"""Paranoia: queries run twice and must agree; the whole is compared with a graph made from nothing."""

from __future__ import annotations

import itertools

import pytest

from controlplane.base.errors import GraphError, QueryFailed
from controlplane.graph import Graph, Plan, Q, each, group, keyed, query
from controlplane.graph.verify import compare_with_fresh, fresh_copy, snapshot
from tests.unit.graph.town import numbers, put

counter = itertools.count()


@query
def impure(q: Q) -> int:
    return next(counter)


@query
def number(q: Q, key: str) -> int:
    value = q.get(numbers, key)
    if value < 0:
        raise ValueError("negative")
    return value  # type: ignore[no-any-return]


@keyed
def all_numbers(q: Q) -> Plan:
    return each(q.members(numbers), number)


@query
def shelf(q: Q, key: str) -> tuple[tuple[int, str], ...]:
    return ((q.get(numbers, key) % 2, key),)


@keyed
def shelves(q: Q) -> Plan:
    return group(q.members(numbers), shelf)


@query
def total(q: Q) -> int:
    return sum(q.values(all_numbers))


def test_an_impure_query_fails() -> None:
    with pytest.raises(QueryFailed, match=r"impure.* is not pure"):
        Graph(paranoid=True).read(impure)
    assert isinstance(Graph().read(impure), int)


def test_a_pure_query_runs_twice_and_leaves_nothing_behind() -> None:
    graph = Graph(paranoid=True)
    put(graph, a=1, b=2)
    lease = graph.lease(total)
    graph.settle()
    assert lease.value == 3
    put(graph, b=3)
    graph.settle()
    assert lease.value == 4
    lease.release()
    graph.sweep()
    assert graph.size() == 0


def test_what_only_the_second_run_reads_is_swept() -> None:
    first = [True]

    @query
    def changes_its_mind(q: Q) -> int:
        if first:
            first.clear()
            return 1
        q(number, "a")
        return 2

    graph = Graph(paranoid=True)
    put(graph, a=1)
    lease = graph.lease(changes_its_mind)
    graph.settle()
    graph.sweep()
    assert graph.size() == 1
    assert lease.failure is not None


def test_a_fresh_copy_has_the_rows_and_nothing_else() -> None:
    graph = Graph()
    put(graph, a=1)
    graph.read(total)
    copy = fresh_copy(graph)
    assert copy.rows(numbers).values == {"a": 1}
    assert copy.size() == 0


def test_equal_states_compare_without_a_word() -> None:
    graph = Graph()
    put(graph, a=1, b=-1)
    leases = [graph.lease(what) for what in (all_numbers, shelves, total)]  # type: ignore[arg-type]
    graph.settle()
    compare_with_fresh(graph, leases)


@pytest.mark.parametrize(
    ("what", "said"),
    [(all_numbers, "at a: 99 is not 1"), (shelves, "at 1: .* is not"), (total, "99 is not 3")],
)
def test_a_tampered_value_is_named(what: object, said: str) -> None:
    graph = Graph()
    put(graph, a=1, b=2)
    lease = graph.lease(what)  # type: ignore[arg-type]
    graph.settle()
    if what is total:
        lease.node.value = 99  # type: ignore[union-attr]
    elif what is shelves:
        lease.get(1).counts["tampered"] = 1
    else:
        lease.node.shape.out["a"] = 99  # type: ignore[union-attr]
    with pytest.raises(GraphError, match=said):
        compare_with_fresh(graph, [lease])


def test_a_lost_entry_is_named() -> None:
    graph = Graph()
    put(graph, a=1, b=2)
    lease = graph.lease(all_numbers)
    graph.settle()
    del lease.node.shape.out["b"]  # type: ignore[union-attr]
    lease.node.order.move("b")  # type: ignore[union-attr]
    with pytest.raises(GraphError, match="at b: None is not 2"):
        compare_with_fresh(graph, [lease])


def test_failures_count_as_absent() -> None:
    graph = Graph()
    put(graph, a=1, b=-1)
    lease = graph.lease(all_numbers)
    graph.settle()
    assert snapshot(lease) == {"a": 1}
