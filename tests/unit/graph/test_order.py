"""The order of settling: everything once per change, after all it reads, also when edges turn round."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from controlplane.graph import Plan, Q, each, group, keyed, query
from tests.unit.graph.town import House, content, graph_with, houses, numbers, put, runs


@query
def base(q: Q, key: str) -> int:
    return q.get(numbers, key)


@keyed
def bases(q: Q) -> Plan:
    return each(q.members(numbers), base)


@query
def left_value(q: Q, key: str) -> int:
    return q.at(bases, (), key) + 1


@keyed
def left(q: Q) -> Plan:
    return each(q.map(bases), left_value)


@query
def right_value(q: Q, key: str) -> int:
    return q.at(left, (), key) * 10


@keyed
def right(q: Q) -> Plan:
    """Longer than the other side, so that the rank matters."""
    return each(q.map(left), right_value)


@query
def both(q: Q, key: str) -> tuple[int, int, int]:
    return (q.at(bases, (), key), q.at(left, (), key), q.at(right, (), key))


@keyed
def tip(q: Q) -> Plan:
    return each((q.map(bases), q.map(right)), both)


@query
def digest(q: Q) -> tuple[Any, ...]:
    return (tuple(q.values(bases)), tuple(q.values(tip)), q.keys(q.map(right)))


def test_a_diamond_of_maps_is_computed_once_per_change() -> None:
    graph = graph_with(a=1, b=2)
    lease, root = graph.lease(tip), graph.lease(digest)
    graph.settle()
    for change in ({"a": 5}, {"a": 6, "b": 7}):
        with runs(graph) as ran:
            put(graph, **change)
        count = len(change)
        expected = {"base": count, "left_value": count, "right_value": count, "both": count, "digest": 1}
        assert ran == expected
    with runs(graph) as ran:
        put(graph, c=1)
    assert ran == {"base": 1, "left_value": 1, "right_value": 1, "both": 1, "digest": 1}
    with runs(graph) as ran:
        put(graph, c=None)
    assert ran == {"digest": 1}
    assert content(lease) == {"a": (6, 7, 70), "b": (7, 8, 80)}
    assert root.value[2] == ("a", "b")


def test_the_order_in_which_leases_were_taken_does_not_matter() -> None:
    for order in itertools.permutations((bases, left, right, tip, digest)):
        graph = graph_with(a=1, b=2)
        for what in order:
            graph.lease(what)  # type: ignore[arg-type]
        with runs(graph) as ran:
            graph.settle()
        assert ran["base"] == ran["left_value"] == ran["right_value"] == ran["both"] == 2
        with runs(graph) as ran:
            put(graph, a=3, b=3)
        assert ran["digest"] == 1
        assert ran["base"] == ran["left_value"] == ran["right_value"] == ran["both"] == 2
        assert graph.counters.put_back == graph.counters.doubted == 0


@query
def shelf(q: Q, key: str) -> tuple[tuple[str, str], ...]:
    return (("even" if q.at(bases, (), key) % 2 == 0 else "odd", key),)


@keyed
def shelves(q: Q) -> Plan:
    return group(q.map(bases), shelf)


@query
def on_shelf(q: Q, name: str, key: str) -> str:
    value = q.at(bases, (), key)
    assert (value % 2 == 0) == (name == "even"), "half of a commit was seen"
    return f"{key}{value}"


@keyed
def of_shelf(q: Q, name: str) -> Plan:
    return each(q.part(shelves, (), name), on_shelf, name)


def test_a_member_leaves_its_group_before_it_is_looked_at_again() -> None:
    graph = graph_with(a=1, b=2)
    even, odd = graph.lease(of_shelf, "even"), graph.lease(of_shelf, "odd")
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=2, b=1)
    assert ran["on_shelf"] == 2
    assert graph.counters.failed == 0
    assert (content(even), content(odd)) == ({"a": "a2"}, {"b": "b1"})


# Maps that read each other in an order that is a row: `order` says who may read whom.


@query
def link(q: Q, name: str, key: str) -> tuple[str, int]:
    order = q.get(numbers, "order")
    place = order.index(name)
    if place == 0:
        return (name, q.get(numbers, "base"))
    if q.get(numbers, "whole"):
        ((_, value),) = q.values(chain, order[place - 1])
    else:
        _, value = q.at(chain, (order[place - 1],), "x")
    return (name, value + 1)


@keyed
def chain(q: Q, name: str) -> Plan:
    return each(q.fixed("x"), link, name)


@query
def over_link(q: Q, name: str, key: str) -> tuple[str, int]:
    return q.at(chain, (name,), key)


@keyed
def over_chain(q: Q, name: str) -> Plan:
    return each(q.map(chain, name), over_link, name)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("budget", [None, 1, 3])
def test_the_order_of_maps_may_turn_round(whole: bool, budget: int | None) -> None:
    """Recorded edges then look like a circle, which there never is."""
    graph = graph_with(order="abcd", base=0, whole=whole)
    leases = {name: graph.lease(over_chain, name) for name in "dbca"}
    clock = itertools.count()
    turns = list(itertools.permutations("abcd"))
    doubted = 0
    for base, order in enumerate(turns):
        for change in ({"order": "".join(order), "base": base}, {"base": base + 100}):
            put(graph, **change)
            while not graph.settle(budget, lambda: next(clock)):
                pass
            found = {name: lease.get("x") for name, lease in leases.items()}
            assert found == {name: (name, change["base"] + place) for place, name in enumerate(order)}
            if "order" in change:
                doubted = graph.counters.doubted
            assert graph.counters.doubted == doubted
    # Each map's child once per change: in the turns too, after which the order is as good as any.
    assert graph.counters.by_query["test_order.link"] == 2 * 4 * len(turns)
    assert graph.counters.by_query["test_order.over_link"] == 2 * 4 * len(turns)
    assert graph.counters.doubted > 0
    assert graph.counters.failed == graph.counters.restless == 0


def test_a_map_that_reads_upwards_for_the_first_time_sees_nothing_stale() -> None:
    """What it reads is settled already, but what that reads in turn is not."""
    seen = []

    @query
    def low_value(q: Q, key: str) -> int:
        if not q.get(numbers, "switch"):
            return 0
        seen.append((q.get(numbers, key), *q.at(tip, (), key)))
        return len(seen)

    @keyed
    def low(q: Q) -> Plan:
        return each(q.fixed("a"), low_value)

    graph = graph_with(a=1, switch=0)
    graph.lease(low)
    graph.lease(tip)
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=2, switch=1)
    assert seen == [(2, 2, 3, 30)]
    assert ran["low_value"] == 1
    assert ran["both"] == ran["right_value"] == 2  # the switch is a row like any other
    assert (graph.counters.put_back, graph.counters.doubted) == (1, 0)
    with runs(graph) as ran:
        put(graph, a=3)
    assert set(ran.values()) == {1}
    assert (graph.counters.put_back, graph.counters.doubted) == (1, 0)


@query
def from_above(q: Q, key: str) -> tuple[int, ...]:
    found: tuple[int, ...] = q.at(tip, (), key)
    return found


@keyed
def many(q: Q) -> Plan:
    return each(q.map(right), from_above)


@keyed
def few(q: Q) -> Plan:
    """Below all others, until it has a member; then it shares its child with `many`."""
    return each(q.fixed(*q.get(houses, "few").street), from_above)


def test_a_new_member_whose_child_is_there_already_waits_for_what_the_child_reads() -> None:
    graph = graph_with(a=1, b=2)
    graph.commit([(houses, "few", House(street=""))])
    low, high = graph.lease(few), graph.lease(many)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "few", House(street="a")), (numbers, "a", 5)])
    assert low.get("a") == high.get("a") == (5, 6, 60)
    assert set(ran.values()) == {1}
    assert (graph.counters.put_back, graph.counters.doubted) == (1, 0)


def test_reading_upwards_again_and_again_is_no_reason_to_doubt() -> None:
    @query
    def climb(q: Q, key: str) -> tuple[str, int]:
        found: tuple[str, int] = q.at(chain, (q.get(houses, "to").street,), key)
        return found

    @keyed
    def climber(q: Q) -> Plan:
        return each(q.fixed("x"), climb)

    graph = graph_with(order="abcdefghi", base=0)
    graph.commit([(houses, "to", House("a"))])
    lease, _top = graph.lease(climber), graph.lease(chain, "i")
    graph.settle()
    for place, name in enumerate("cegi", 1):
        graph.commit([(houses, "to", House(name)), (numbers, "base", 10 * place)])
        graph.settle()
        assert lease.get("x") == (name, 12 * place)
    assert (graph.counters.put_back, graph.counters.doubted) == (4, 0)


def test_a_map_queues_up_once_however_often_it_is_marked() -> None:
    graph = graph_with(**{f"n{i}": i for i in range(50)})
    graph.lease(bases)
    graph.settle()
    put(graph, **{f"n{i}": i + 1 for i in range(50)})
    assert len(graph.agenda._queue) == 1


def test_a_leased_query_sees_one_state() -> None:
    graph = graph_with(a=1)
    lease = graph.lease(digest)
    for value in range(2, 5):
        put(graph, a=value)
        graph.settle()
        (one,), (three,), _ = lease.value
        assert three == (one, one + 1, 10 * (one + 1)) == (value, value + 1, 10 * (value + 1))


@pytest.mark.parametrize("act", ["commit", "settle", "sweep", "read", "lease"])
def test_a_query_may_only_read(act: str) -> None:
    graph = graph_with(a=1)

    @query
    def meddling(q: Q) -> None:
        arguments = {"commit": ([(numbers, "a", 2)],), "read": (digest,), "lease": (digest,)}
        getattr(graph, act)(*arguments.get(act, ()))

    lease = graph.lease(meddling)
    graph.settle()
    assert "a query may only read" in str(lease.failure)
    assert graph.revision == 1
