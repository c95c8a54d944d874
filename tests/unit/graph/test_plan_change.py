"""A plan that changes: what of the map stays."""

from __future__ import annotations

from typing import Any

from controlplane.graph import Graph, Plan, Q, each, flat, group, keyed, query
from tests.unit.graph.town import House, content, houses, numbers, put, runs


@query
def paint(q: Q, key: str) -> str:
    return q.get(houses, key).paint


@query
def rooms(q: Q, key: str) -> int:
    return q.get(houses, key).rooms


@query
def times(q: Q, factor: int, key: str) -> int:
    return factor * q.get(houses, key).rooms


@keyed
def some_street(q: Q) -> Plan:
    return each(q.bucket(houses, "street", q.get(numbers, "street")), paint)


@keyed
def streets(q: Q) -> Plan:
    return each(tuple(q.bucket(houses, "street", name) for name in q.get(numbers, "streets")), paint)


@keyed
def by_choice(q: Q) -> Plan:
    return each(q.members(houses), paint if q.get(numbers, "paint") else rooms)


@keyed
def factors(q: Q) -> Plan:
    return each(q.members(houses), times, q.get(numbers, "factor"))


def town(**rows: Any) -> Graph:
    graph = Graph()
    graph.commit(
        [
            (houses, "x", House("a")),
            (houses, "y", House("b", paint="red")),
            (houses, "z", House("b", rooms=2)),
            *((numbers, name, value) for name, value in rows.items()),
        ]
    )
    return graph


def test_another_source_with_the_same_child_brings_its_own_members() -> None:
    graph = town(street="a")
    lease = graph.lease(some_street)
    graph.settle()
    assert content(lease) == {"x": "white"}
    put(graph, street="b")
    graph.settle()
    assert content(lease) == {"y": "red", "z": "white"}
    delta = lease.since(1)
    assert delta is not None and (delta.upserts, delta.removed) == (("y", "z"), ("x",))


def test_members_that_stay_do_not_run() -> None:
    graph = town(streets=("a", "b"))
    lease = graph.lease(streets)
    graph.settle()
    with runs(graph) as ran:
        put(graph, streets=("b", "c"))
    assert ran == {"streets": 1}
    assert lease.keys() == ("y", "z")
    delta = lease.since(1)
    assert delta is not None and (delta.upserts, delta.removed) == ((), ("x",))


def test_the_old_source_is_not_followed_any_more() -> None:
    graph = town(street="a")
    lease = graph.lease(some_street)
    graph.settle()
    put(graph, street="b")
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "new", House("a"))])
    assert not ran
    assert "new" not in lease
    graph.commit([(houses, "new", House("b"))])
    graph.settle()
    assert "new" in lease


def test_another_child_makes_all_values_anew() -> None:
    graph = town(paint=True)
    lease = graph.lease(by_choice)
    graph.settle()
    put(graph, paint=False)
    graph.settle()
    assert content(lease) == {"x": 1, "y": 1, "z": 2}
    with runs(graph) as ran:
        graph.commit([(houses, "x", House("a", paint="blue"))])
    assert ran == {"rooms": 1}


def test_other_arguments_of_the_child_make_all_values_anew_and_equal_ones_are_no_change() -> None:
    graph = town(factor=1)
    graph.commit([(houses, "z", House("b", rooms=0))])
    lease = graph.lease(factors)
    graph.settle()
    put(graph, factor=2)
    graph.settle()
    assert content(lease) == {"x": 2, "y": 2, "z": 0}
    delta = lease.since(2)
    assert delta is not None and delta.upserts == ("x", "y")


def test_an_equal_plan_visits_no_member() -> None:
    graph = town(factor=1)
    graph.lease(factors)
    graph.settle()
    validated = graph.counters.validated
    with runs(graph) as ran:
        put(graph, factor=1.0)
    assert ran == {}
    put(graph, factor=3)
    put(graph, factor=1)
    with runs(graph) as ran:
        graph.settle()
    assert ran == {"factors": 1}
    assert graph.counters.validated == validated


def test_a_row_that_came_meanwhile_is_not_lost() -> None:
    graph = town(street="a")
    lease = graph.lease(some_street)
    graph.settle()
    graph.commit([(numbers, "street", "b"), (houses, "new", House("b")), (houses, "y", None)])
    graph.settle()
    assert lease.keys() == ("new", "z")


@query
def pairs(q: Q, key: str) -> tuple[tuple[str, int], ...]:
    return ((key, 1),)


@keyed
def shifting(q: Q) -> Plan:
    form = flat if q.get(numbers, "flat") else group
    return form(q.members(houses), pairs)


def test_a_map_keeps_its_form() -> None:
    graph = town(flat=True)
    lease = graph.lease(shifting)
    graph.settle()
    assert len(lease) == 3
    put(graph, flat=False)
    graph.settle()
    assert "keeps its form" in str(lease.failure)
    assert len(lease) == 0
    put(graph, flat=True)
    graph.settle()
    assert lease.failure is None
    assert len(lease) == 3


def test_a_keyed_query_has_to_return_a_plan() -> None:
    @keyed
    def forgetful(q: Q) -> Plan:  # type: ignore[return]
        each(q.members(houses), paint)

    graph = town()
    lease = graph.lease(forgetful)
    graph.settle()
    assert "returns None" in str(lease.failure)


def test_a_collection_kept_by_a_query_is_refused() -> None:
    @query
    def kept(q: Q) -> Any:
        return q.bucket(houses, "street", "a")

    @keyed
    def indirect(q: Q) -> Plan:
        return each(q(kept), paint)

    graph = town()
    graph.read(kept)
    graph.sweep()
    holder = graph.lease(kept)
    graph.settle()
    graph.sweep()
    lease = graph.lease(indirect)
    graph.settle()
    assert "kept" in str(lease.failure)
    holder.release()
