"""Settling in slices: progress, resumption, and what happens in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.base.errors import GraphError
from controlplane.graph import Delta, Graph, Plan, Q, each, keyed, query
from tests.unit.graph.town import content, numbers, put, runs


@query
def doubled(q: Q, key: str) -> int:
    return 2 * q.get(numbers, key)


@keyed
def all_doubled(q: Q) -> Plan:
    return each(q.members(numbers), doubled)


@query
def summed(q: Q, key: str) -> int:
    return sum(q.values(all_doubled)) + q.get(numbers, key)


@keyed
def above(q: Q) -> Plan:
    """Its children read a map that is not there yet."""
    return each(q.members(numbers), summed)


@keyed
def over(q: Q) -> Plan:
    """Its source is a map that is not there yet."""
    return each(q.map(above), doubled)


@query
def grand_total(q: Q) -> int:
    return sum(q.values(above)) + len(q.keys(q.map(over)))


def loaded(count: int = 20) -> Graph:
    graph = Graph()
    graph.commit([(numbers, f"n{i:02}", i) for i in range(count)])
    return graph


def ticking() -> Callable[[], float]:
    """A clock that advances by one each time somebody looks."""
    counter = itertools.count()
    return lambda: next(counter)


def slices(graph: Graph, budget: float = 3) -> int:
    """Settle to the end and count the slices."""
    clock, count = ticking(), 1
    while not graph.settle(budget, clock):
        count += 1
        assert count < 1000, "no progress"
    return count


def test_a_budget_ends_a_slice_and_the_next_goes_on() -> None:
    graph = loaded()
    lease = graph.lease(all_doubled)
    with runs(graph) as ran:
        assert slices(graph) > 5
    assert ran["doubled"] == 20
    assert len(lease) == 20


def test_even_without_time_each_slice_makes_progress() -> None:
    graph = loaded()
    lease = graph.lease(grand_total)
    assert slices(graph, 0) > 20
    assert lease.value == 20 * sum(2 * i for i in range(20)) + sum(range(20)) + 20


def test_slices_compute_each_child_once() -> None:
    graph = loaded()
    graph.lease(grand_total)
    with runs(graph) as ran:
        slices(graph)
    assert ran == {"doubled": 20, "all_doubled": 1, "summed": 20, "above": 1, "over": 1, "grand_total": 1}


def test_nobody_reads_a_map_that_is_half_built() -> None:
    seen = []

    @query
    def watcher(q: Q) -> int:
        seen.append(len(q.values(all_doubled)))
        return seen[-1]

    graph = loaded()
    lease = graph.lease(watcher)
    slices(graph)
    assert seen == [20]
    graph.commit([(numbers, f"n{i:02}", -i) for i in range(1, 20)] + [(numbers, "more", 1)])
    slices(graph)
    assert seen == [20, 21]
    assert lease.value == 21


def test_a_lease_is_not_ready_before_its_map_is_complete() -> None:
    graph = loaded()
    lease = graph.lease(all_doubled)
    graph.settle(3, ticking())
    assert not lease.ready
    with pytest.raises(GraphError, match="not been settled"):
        lease.keys()
    slices(graph)
    assert lease.ready


def test_the_settled_revision_moves_when_all_is_done() -> None:
    graph = loaded()
    lease = graph.lease(all_doubled)
    assert not graph.settle(3, ticking())
    assert (graph.settled, lease.revision) == (0, 0)
    slices(graph)
    assert (graph.settled, lease.revision) == (1, 1)


def test_what_is_patched_over_several_slices_is_told_once() -> None:
    graph = loaded()
    lease = graph.lease(all_doubled)
    graph.settle()
    graph.commit([(numbers, f"n{i:02}", i + 1) for i in range(20)])
    graph.settle(3, ticking())
    assert lease.since(1) == Delta((), ())
    slices(graph)
    assert lease.since(1) == Delta(tuple(f"n{i:02}" for i in range(20)), ())


def test_a_commit_between_slices_may_delete_what_is_being_built() -> None:
    graph = loaded()
    lease, total = graph.lease(over), graph.lease(grand_total)
    clock = ticking()
    assert not graph.settle(8, clock)
    graph.commit([(numbers, f"n{i:02}", None) for i in range(0, 20, 2)])
    assert not graph.settle(8, clock)
    graph.commit([(numbers, f"n{i:02}", 7) for i in range(5)])
    slices(graph)
    expected = {f"n{i:02}": 7 if i < 5 else i for i in range(20) if i < 5 or i % 2}
    assert content(lease) == {key: 2 * value for key, value in expected.items()}
    double = sum(2 * value for value in expected.values())
    assert total.value == len(expected) * double + sum(expected.values()) + len(expected)


def test_a_commit_between_slices_may_delete_everything() -> None:
    graph = loaded()
    lease = graph.lease(grand_total)
    graph.settle(8, ticking())
    graph.commit([(numbers, f"n{i:02}", None) for i in range(20)])
    slices(graph)
    assert lease.value == 0


def test_a_lease_released_between_slices_leaves_nothing() -> None:
    graph = loaded()
    lease = graph.lease(grand_total)
    graph.settle(8, ticking())
    lease.release()
    slices(graph)
    graph.sweep()
    assert graph.size() == 0


def test_what_exists_is_brought_up_to_date_before_anything_new_is_built() -> None:
    """A new scope must not keep the others waiting."""
    graph = loaded()
    old = graph.lease(all_doubled)
    graph.settle()
    graph.lease(above)
    graph.settle(1, ticking())
    put(graph, n00=50)
    assert not graph.settle(1, ticking())
    assert old.get("n00") == 100


def test_a_query_that_meets_an_unfinished_map_runs_again_and_reads_afresh() -> None:
    order = []

    @query
    def note(q: Q, key: str) -> int:
        return q.get(numbers, key)

    @query
    def reader(q: Q) -> int:
        order.append(q(note, "n01"))
        return order[-1] + len(q.values(all_doubled))

    graph = loaded()
    lease = graph.lease(reader)
    assert not graph.settle(3, ticking())
    put(graph, n01=100)
    slices(graph)
    assert order[0] == 1 and order[-1] == 100
    assert lease.value == 120


def test_a_query_is_given_up_once_however_many_slices_its_map_takes() -> None:
    begun = []

    @query
    def reader(q: Q) -> int:
        begun.append(1)
        return len(q.values(all_doubled))

    graph = loaded()
    graph.lease(reader)
    assert slices(graph, 1) > 10
    assert len(begun) == 2


@pytest.mark.parametrize("what", [above, over, grand_total], ids=lambda what: what.name)
def test_what_was_built_for_a_lease_that_is_gone_is_swept(what: Any) -> None:
    graph = loaded()
    for budget in range(1, 60, 7):
        lease = graph.lease(what)
        graph.settle(budget, ticking())
        lease.release()
        graph.settle()
        graph.sweep()
        assert graph.size() == 0


def test_an_exhausted_budget_with_nothing_to_do_is_success() -> None:
    assert Graph().settle(0, ticking())


def test_a_budget_without_a_clock_is_no_limit() -> None:
    graph = loaded()
    lease = graph.lease(all_doubled)
    assert graph.settle(0)
    assert len(lease) == 20


@pytest.mark.parametrize("count", [0, 1])
def test_a_budget_that_ends_with_the_work_is_success(count: int) -> None:
    graph = loaded(count)
    graph.lease(all_doubled)
    assert graph.settle(0, ticking())


def test_one_slice_goes_on_from_map_to_map() -> None:
    graph = loaded()
    for what in (grand_total, over, above, all_doubled):
        graph.lease(what)  # type: ignore[arg-type]
    assert slices(graph, 10_000) == 1


def test_a_thousand_changes_while_something_is_built_are_no_endless_exchange() -> None:
    graph = loaded(2)
    lease = graph.lease(all_doubled)
    graph.settle()
    clock = ticking()
    for n in range(1100):
        put(graph, n00=n, **{f"m{n}": 1})
        building = graph.lease(above)
        graph.settle(0, clock)
        building.release()
    graph.settle()
    assert graph.counters.restless == 0
    assert lease.get("n00") == 2 * 1099


def test_a_map_that_its_reader_gave_up_while_it_was_built_is_swept() -> None:
    @query
    def fickle(q: Q) -> int:
        return len(q.values(all_doubled)) if q.get(numbers, "n00") == 0 else -1

    graph = loaded()
    lease = graph.lease(fickle)
    assert not graph.settle(3, ticking())
    graph.sweep()
    put(graph, n00=1)
    assert slices(graph) > 0
    assert lease.value == -1
    graph.sweep()
    assert graph.size() == 2
