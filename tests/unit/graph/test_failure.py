"""Queries that raise: the failure is stored, siblings are spared, and it goes when its cause goes."""

from __future__ import annotations

import pytest

from controlplane.base.errors import QueryFailed
from controlplane.graph import Failure, Graph, Plan, Q, each, group, keyed, query
from tests.unit.graph.town import by_nothing, content, graph_with, numbers, put, runs


@query
def number(q: Q, name: str) -> int:
    value = q.get(numbers, name)
    if value is None or value < 0:
        raise ValueError(f"{name} is {value}")
    return value  # type: ignore[no-any-return]


@query
def doubled(q: Q, name: str) -> int:
    return 2 * q(number, name)


@keyed
def all_doubled(q: Q) -> Plan:
    return each(q.members(numbers), doubled)


@keyed
def planned(q: Q) -> Plan:
    """A plan that fails while the row "plan" is missing or negative."""
    q(number, "plan")
    return each(q.members(numbers), doubled)


@query
def shelf(q: Q, name: str) -> tuple[tuple[str, str], ...]:
    return (("all", name),)


@keyed
def shelves(q: Q) -> Plan:
    q(number, "plan")
    return group(q.members(numbers), shelf)


@keyed
def above(q: Q) -> Plan:
    return each(q.map(planned), doubled)


@keyed
def of_shelf(q: Q) -> Plan:
    return each(q.part(shelves, (), "all"), doubled)


@query
def entry(q: Q) -> int | None:
    return q.at(planned, (), "x")


@query
def keys(q: Q) -> tuple[str, ...]:
    return q.keys(q.map(planned))


@query
def values(q: Q) -> list[int]:
    return q.values(planned)


@query
def part(q: Q) -> tuple[str, ...]:
    return q.keys(q.part(shelves, (), "all"))


READERS = (entry, keys, values, part)


def test_the_reader_of_a_failed_query_fails_with_it() -> None:
    graph = graph_with(a=-1)
    with pytest.raises(QueryFailed, match=r"test_failure.number\(a\) failed: ValueError: a is -1"):
        graph.read(doubled, "a")


def test_a_failure_tells_where_it_came_from() -> None:
    graph = graph_with(a=-1)
    lease = graph.lease(all_doubled)
    graph.settle()
    failure = lease.get("a")
    assert isinstance(failure, Failure)
    assert failure.node == "test_failure.number(a)"
    assert isinstance(failure.cause, ValueError)
    assert 'raise ValueError(f"{name} is {value}")' in failure.where()


def test_siblings_are_spared() -> None:
    graph = graph_with(a=-1, b=1)
    lease = graph.lease(all_doubled)
    graph.settle()
    assert lease.keys() == ("a", "b")
    assert lease.get("b") == 2
    assert lease.failed("a") is not None and lease.failed("b") is None
    assert lease.failure is None


def test_it_recovers_when_what_it_read_changes() -> None:
    graph = graph_with(a=-1)
    lease, map_lease = graph.lease(doubled, "a"), graph.lease(all_doubled)
    graph.settle()
    put(graph, a=4)
    graph.settle()
    assert lease.value == 8
    assert content(map_lease) == {"a": 8}
    put(graph, a=-4)
    graph.settle()
    assert isinstance(map_lease.get("a"), Failure)
    assert graph.counters.failed == 4


def test_it_recovers_when_what_was_missing_comes() -> None:
    graph = Graph()
    lease = graph.lease(doubled, "a")
    graph.settle()
    with pytest.raises(QueryFailed, match="a is None"):
        _ = lease.value
    put(graph, a=1)
    graph.settle()
    assert lease.value == 2


def test_an_equal_failure_is_no_change() -> None:
    graph = graph_with(a=-1)
    lease = graph.lease(always_the_same, "a")
    graph.settle()
    before = lease.failure
    with runs(graph) as ran:
        put(graph, a=-2)
    assert ran == {"always_the_same": 1}
    assert lease.failure is before
    with runs(graph) as ran:
        put(graph, a=-3)
    assert graph.counters.equal == 2


@query
def always_the_same(q: Q, name: str) -> int:
    q.get(numbers, name)
    raise ValueError("always")


def test_failures_are_equal_when_type_and_text_are() -> None:
    assert Failure("a", ValueError("x")) == Failure("b", ValueError("x"))
    assert Failure("a", ValueError("x")) != Failure("a", ValueError("y"))
    assert Failure("a", ValueError("x")) != Failure("a", TypeError("x"))
    assert Failure("a", ValueError("x")) != "x"
    assert len({Failure("a", ValueError("x")), Failure("b", ValueError("x"))}) == 1


def test_an_entry_that_failed_raises_where_it_is_read() -> None:
    @query
    def one(q: Q) -> int | None:
        return q.at(all_doubled, (), "a")

    graph = graph_with(a=-1, b=1)
    lease = graph.lease(one)
    graph.settle()
    with pytest.raises(QueryFailed, match="a is -1"):
        _ = lease.value
    put(graph, a=1)
    graph.settle()
    assert lease.value == 2


def test_a_query_may_survive_the_failure_of_another() -> None:
    @query
    def careful(q: Q) -> int:
        try:
            return q(number, "a")
        except QueryFailed:
            return 0

    graph = graph_with(a=-1)
    lease = graph.lease(careful)
    graph.settle()
    assert lease.value == 0
    put(graph, a=3)
    graph.settle()
    assert lease.value == 3


def test_a_map_whose_plan_failed_has_nothing_and_says_why() -> None:
    graph = graph_with(x=1)
    lease = graph.lease(planned)
    graph.settle()
    assert len(lease) == 0
    assert lease.failure is not None and "plan is None" in str(lease.failure.cause)
    put(graph, plan=5)
    graph.settle()
    assert lease.failure is None
    assert content(lease) == {"plan": 10, "x": 2}
    put(graph, plan=-5)
    graph.settle()
    assert lease.failure is not None
    assert len(lease) == 0
    delta = lease.since(2)
    assert delta is not None and delta.removed == ("plan", "x")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_whoever_reads_a_map_whose_plan_failed_fails_with_it_and_recovers(reader: object) -> None:
    graph = graph_with(x=1)
    lease = graph.lease(reader)  # type: ignore[arg-type]
    graph.settle()
    with pytest.raises(QueryFailed, match="plan is None"):
        _ = lease.value
    put(graph, plan=0)
    graph.settle()
    assert lease.value in (2, ("plan", "x"), [0, 2])
    put(graph, plan=None)
    graph.settle()
    with pytest.raises(QueryFailed, match="plan is None"):
        _ = lease.value


@pytest.mark.parametrize("what", [above, of_shelf], ids=lambda what: what.name)
def test_a_map_whose_source_failed_fails_with_it_and_recovers(what: object) -> None:
    graph = graph_with(x=1)
    lease = graph.lease(what)  # type: ignore[arg-type]
    graph.settle()
    assert lease.failure is not None and "plan is None" in str(lease.failure.cause)
    put(graph, plan=3)
    graph.settle()
    assert lease.failure is None
    assert content(lease) == {"plan": 6, "x": 2}
    put(graph, plan=None)
    graph.settle()
    assert lease.failure is not None
    assert len(lease) == 0


def test_the_failure_of_an_empty_map_is_told_too() -> None:
    """Nothing in the map changes: it had nothing before."""

    @keyed
    def empty(q: Q) -> Plan:
        q(number, "plan")
        return each(q.bucket(by_nothing, "none", 0), doubled)

    @query
    def size(q: Q) -> int:
        return len(q.values(empty))

    graph = graph_with(plan=1)
    lease, map_lease = graph.lease(size), graph.lease(empty)
    told: list[int] = []
    graph.settle()
    map_lease.on_change = lambda: told.append(1)
    put(graph, plan=-1)
    graph.settle()
    assert told == [1]
    with pytest.raises(QueryFailed):
        _ = lease.value
    put(graph, plan=1)
    graph.settle()
    assert lease.value == 0


def test_an_error_that_is_no_exception_goes_through_and_leaves_the_graph_usable() -> None:
    stop = [True]

    @query
    def interrupted(q: Q, key: str) -> int:
        value: int = q.get(numbers, key)
        if key == "b" and stop:
            raise KeyboardInterrupt
        return value

    @keyed
    def mapped(q: Q) -> Plan:
        return each(q.members(numbers), interrupted)

    @query
    def reader(q: Q) -> int:
        return sum(q.values(mapped))

    graph = graph_with(a=1, b=2, c=3)
    leases = [graph.lease(mapped), graph.lease(reader)]
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            graph.settle()
        assert not graph.stack
    graph.sweep()
    stop.clear()
    put(graph, c=4)
    graph.settle()
    assert content(leases[0]) == {"a": 1, "b": 2, "c": 4}
    assert leases[1].value == 7
    for lease in leases:
        lease.release()
    graph.sweep()
    assert graph.size() == 0
