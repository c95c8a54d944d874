"""What is not there is a dependency, too: who found nothing hears when it comes."""

from __future__ import annotations

from typing import Any

from controlplane.graph import Graph, Plan, Q, each, group, keyed, query
from tests.unit.graph.town import House, houses, numbers, put, runs


@query
def maybe(q: Q, name: str) -> Any:
    return q.get(numbers, name)


@query
def on_street(q: Q, street: str) -> tuple[Any, ...]:
    return q.index(houses, "street", street)


@query
def rooms(q: Q, key: str) -> int | None:
    house = q.get(houses, key)
    return house.rooms if house.rooms else None


@keyed
def rooms_by_house(q: Q) -> Plan:
    return each(q.members(houses), rooms)


@query
def by_size(q: Q, key: str) -> tuple[tuple[int, str], ...]:
    return ((q.get(houses, key).rooms, key),)


@keyed
def sizes(q: Q) -> Plan:
    return group(q.members(houses), by_size)


@query
def one_entry(q: Q, key: str) -> int | None:
    return q.at(rooms_by_house, (), key)


@query
def one_part(q: Q, size: int) -> tuple[str, ...]:
    return q.keys(q.part(sizes, (), size))


def test_an_absent_row() -> None:
    graph = Graph()
    lease = graph.lease(maybe, "a")
    graph.settle()
    assert lease.value is None
    put(graph, a=1)
    graph.settle()
    assert lease.value == 1
    put(graph, a=None)
    graph.settle()
    assert lease.value is None


def test_an_absent_bucket() -> None:
    graph = Graph()
    lease = graph.lease(on_street, "elm")
    graph.settle()
    assert lease.value == ()
    with runs(graph) as ran:
        graph.commit([(houses, "x", House("oak"))])
    assert not ran
    graph.commit([(houses, "x", House("elm"))])
    graph.settle()
    assert lease.value == ("x",)


def test_an_absent_entry_of_a_map() -> None:
    graph = Graph()
    lease = graph.lease(one_entry, "x")
    graph.settle()
    assert lease.value is None
    with runs(graph) as ran:
        graph.commit([(houses, "y", House(rooms=3))])
    assert ran == {"rooms": 1}
    graph.commit([(houses, "x", House(rooms=2))])
    graph.settle()
    assert lease.value == 2


def test_an_entry_whose_child_gives_none_is_absent() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House(rooms=0))])
    lease = graph.lease(one_entry, "x")
    members = graph.lease(rooms_by_house)
    graph.settle()
    assert lease.value is None
    assert members.keys() == ()
    graph.commit([(houses, "x", House(rooms=1))])
    graph.settle()
    assert lease.value == 1
    assert members.keys() == ("x",)


def test_an_absent_group() -> None:
    graph = Graph()
    lease = graph.lease(one_part, 2)
    graph.settle()
    assert lease.value == ()
    with runs(graph) as ran:
        graph.commit([(houses, "x", House(rooms=1))])
    assert ran == {"by_size": 1}
    graph.commit([(houses, "x", House(rooms=2))])
    graph.settle()
    assert lease.value == ("x",)
    graph.commit([(houses, "x", None)])
    graph.settle()
    assert lease.value == ()


def test_a_group_may_be_the_source_of_a_map_before_it_exists() -> None:
    @query
    def name(q: Q, key: str) -> str:
        return key.upper()

    @keyed
    def small(q: Q) -> Plan:
        return each(q.part(sizes, (), 1), name)

    graph = Graph()
    lease = graph.lease(small)
    graph.settle()
    assert lease.keys() == ()
    graph.commit([(houses, "x", House(rooms=1)), (houses, "y", House(rooms=2))])
    graph.settle()
    assert {key: lease.get(key) for key in lease.keys()} == {"x": "X"}
