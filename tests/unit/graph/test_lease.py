"""Leases: what they keep alive, what they show, and when they call back."""

from __future__ import annotations

import pytest

from controlplane.base.errors import GraphError, QueryFailed
from controlplane.graph import Graph, Lease, Plan, Q, each, keyed, query
from tests.unit.graph.town import content, graph_with, numbers, put, runs


@query
def parity(q: Q, name: str) -> int:
    return (q.get(numbers, name) or 0) % 2


@query
def number(q: Q, name: str) -> int:
    value = q.get(numbers, name) or 0
    if value < 0:
        raise ValueError("negative")
    return value


@keyed
def parities(q: Q) -> Plan:
    return each(q.members(numbers), parity)


def calls(lease: Lease) -> list[int]:
    """A list that grows with each callback."""
    found: list[int] = []
    lease.on_change = lambda: found.append(lease.revision)
    return found


def test_on_change_is_called_when_the_lease_can_be_read_and_when_it_changes() -> None:
    graph = graph_with(a=1)
    told = [calls(graph.lease(parity, "a")), calls(graph.lease(parities))]
    graph.settle()
    assert told == [[1], [1]]
    put(graph, a=3)
    graph.settle()
    assert told == [[1], [1]]
    put(graph, a=4)
    graph.settle()
    assert told == [[1, 3], [1, 3]]


def test_on_change_is_called_for_an_empty_map_and_an_unchanged_value_too() -> None:
    graph = Graph()
    told = calls(graph.lease(parities))
    graph.settle()
    assert told == [0]
    first = graph.lease(parity, "a")
    graph.settle()
    first.release()
    put(graph, a=2)
    again = graph.lease(parity, "a")  # computed before, dirty, and about to come out equal
    told = calls(again)
    assert not again.ready
    graph.settle()
    assert again.ready
    assert told == [1]


def test_on_change_is_not_called_by_slices_that_do_not_finish() -> None:
    graph = graph_with(**{f"n{i}": i for i in range(20)})
    told = calls(graph.lease(parities))
    clock = iter(range(1000))
    assert not graph.settle(3, lambda: next(clock))
    assert told == []
    graph.settle()
    assert told == [1]


def test_all_leases_of_a_node_are_told() -> None:
    graph = graph_with(a=1)
    told = [calls(graph.lease(parity, "a")) for _ in range(3)]
    graph.settle()
    put(graph, a=2)
    graph.settle()
    assert told == [[1, 2]] * 3


def test_callbacks_may_take_and_release_leases_and_commit() -> None:
    graph = graph_with(a=1, b=1)
    leases = [graph.lease(parity, "a"), graph.lease(parity, "a"), graph.lease(parity, "b")]
    seen = []

    def change() -> None:
        seen.append("a")
        leases[1].release()
        leases.append(graph.lease(parities))
        put(graph, b=2)

    graph.settle()
    leases[0].on_change = change
    leases[1].on_change = lambda: seen.append("released")
    put(graph, a=2)
    graph.settle()
    assert seen == ["a"]
    graph.settle()
    assert leases[2].value == 0
    assert content(leases[3]) == {"a": 0, "b": 0}


def test_a_callback_may_settle() -> None:
    graph = graph_with(a=1)
    first, second = graph.lease(parity, "a"), graph.lease(parity, "b")
    graph.settle()

    def change() -> None:
        put(graph, b=1)
        graph.settle()

    first.on_change = change
    told = calls(second)
    put(graph, a=2)
    graph.settle()
    assert told == [3]
    assert second.value == 1


def test_a_callback_that_raises_does_not_keep_the_others_from_being_told() -> None:
    graph = graph_with(a=1)
    first, second = graph.lease(parity, "a"), graph.lease(parity, "a")
    graph.settle()
    first.on_change = lambda: 1 // 0
    told = calls(second)
    put(graph, a=2)
    with pytest.raises(ZeroDivisionError):
        graph.settle()
    assert told == [2]
    second.on_change = lambda: [][0]
    put(graph, a=1)
    with pytest.raises(ExceptionGroup) as caught:
        graph.settle()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError, IndexError]


def test_a_released_lease_is_not_told_and_cannot_be_read() -> None:
    graph = graph_with(a=1)
    lease, map_lease = graph.lease(parity, "a"), graph.lease(parities)
    graph.settle()
    told = calls(lease)
    for one in (lease, map_lease):
        one.release()
        one.release()
    put(graph, a=2)
    graph.settle()
    assert told == []
    with pytest.raises(GraphError, match="released"):
        _ = lease.value
    with pytest.raises(GraphError, match="released"):
        map_lease.since(0)


def test_a_lease_cannot_be_read_before_it_was_settled() -> None:
    graph = graph_with(a=1)
    lease, map_lease = graph.lease(parity, "a"), graph.lease(parities)
    assert not lease.ready and not map_lease.ready
    with pytest.raises(GraphError, match="not been settled"):
        _ = lease.value
    for read in (map_lease.keys, map_lease.__len__, lambda: map_lease.get("a"), lambda: map_lease.since(0)):
        with pytest.raises(GraphError, match="not been settled"):
            read()
    graph.settle()
    assert lease.ready and map_lease.ready
    assert lease.value == 1


def test_a_lease_shows_the_old_state_between_a_commit_and_its_settle() -> None:
    graph = graph_with(a=1)
    lease, map_lease = graph.lease(parity, "a"), graph.lease(parities)
    graph.settle()
    put(graph, a=2, b=5)
    assert (lease.value, content(map_lease), lease.revision) == (1, {"a": 1}, 1)
    graph.settle()
    assert (lease.value, content(map_lease), lease.revision) == (0, {"a": 0, "b": 1}, 2)


def test_a_lease_taken_between_a_commit_and_its_settle_shows_the_new_state() -> None:
    graph = graph_with(a=1)
    keeper = graph.lease(parities)
    graph.settle()
    put(graph, a=2)
    lease = graph.lease(parities)
    assert lease.since(1) is not None  # it shares the other lease's history
    graph.settle()
    assert content(lease) == {"a": 0}
    delta = lease.since(1)
    assert delta is not None and delta.upserts == ("a",)
    keeper.release()


def test_a_map_that_nobody_read_for_a_while_is_brought_up_to_date_by_a_new_lease() -> None:
    graph = graph_with(a=1)
    first = graph.lease(parities)
    graph.settle()
    first.release()
    with runs(graph) as ran:
        put(graph, a=2)
    assert not ran
    second = graph.lease(parities)
    assert not second.ready
    graph.settle()
    assert content(second) == {"a": 0}


def test_a_failed_query_raises_when_it_is_read() -> None:
    graph = graph_with(a=-1)
    lease = graph.lease(number, "a")
    graph.settle()
    with pytest.raises(QueryFailed, match="negative"):
        _ = lease.value
    assert lease.failure is not None
    put(graph, a=1)
    graph.settle()
    assert lease.value == 1
    assert lease.failure is None


def test_a_query_has_no_keys_and_a_map_no_value() -> None:
    graph = graph_with(a=1)
    lease, map_lease = graph.lease(parity, "a"), graph.lease(parities)
    graph.settle()
    with pytest.raises(GraphError, match="is a query"):
        lease.keys()
    with pytest.raises(GraphError, match="is a keyed map"):
        _ = map_lease.value


def test_a_lease_on_an_empty_map_is_true() -> None:
    graph = Graph()
    lease = graph.lease(parities)
    graph.settle()
    assert len(lease) == 0
    assert lease
