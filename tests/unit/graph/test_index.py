"""Indexes: which keys there are under one, in order, and who hears when they move."""

from __future__ import annotations

from controlplane.graph import Graph, Q, Table, query
from tests.unit.graph.town import House, houses, runs

tagged = Table("tagged", indexes={"tag": lambda key, value: value, "first": lambda key, value: value[:1]})


@query
def street(q: Q, name: str) -> tuple[str, ...]:
    return q.index(houses, "street", name)


@query
def with_tag(q: Q, tag: str) -> tuple[str, ...]:
    return q.index(tagged, "tag", tag)


@query
def starting_with(q: Q, tag: str) -> tuple[str, ...]:
    return q.index(tagged, "first", tag)


def test_keys_come_sorted_whatever_the_order_of_the_writes() -> None:
    graph = Graph()
    lease = graph.lease(street, "main")
    for key in ("m", "z", "a", "q"):
        graph.commit([(houses, key, House())])
        graph.settle()
    assert lease.value == ("a", "m", "q", "z")
    graph.commit([(houses, "m", None), (houses, "b", House())])
    graph.settle()
    assert lease.value == ("a", "b", "q", "z")


def test_a_new_content_under_the_same_index_key_moves_nothing() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House())])
    graph.lease(street, "main")
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "x", House(paint="red"))])
    assert not ran


def test_a_moved_row_touches_the_bucket_it_left_and_the_one_it_joined() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a"))])
    leases = {name: graph.lease(street, name) for name in "abc"}
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "x", House("b"))])
    assert ran == {"street": 2}
    assert {name: lease.value for name, lease in leases.items()} == {"a": (), "b": ("x",), "c": ()}


def test_a_row_may_be_under_many_keys_and_under_none() -> None:
    graph = Graph()
    graph.commit([(tagged, "x", ("red", "tall")), (tagged, "y", ())])
    leases = [graph.lease(with_tag, tag) for tag in ("red", "tall")]
    graph.settle()
    assert [lease.value for lease in leases] == [("x",), ("x",)]
    with runs(graph) as ran:
        graph.commit([(tagged, "x", ("tall",))])
    assert ran == {"with_tag": 1}
    assert [lease.value for lease in leases] == [(), ("x",)]


def test_indexes_of_one_table_are_independent() -> None:
    graph = Graph()
    graph.commit([(tagged, "x", ("red", "tall"))])
    any_place, first_place = graph.lease(with_tag, "tall"), graph.lease(starting_with, "tall")
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(tagged, "x", ("tall", "red"))])
    assert ran == {"starting_with": 1}
    assert (any_place.value, first_place.value) == (("x",), ("x",))


def test_a_bucket_read_late_knows_what_came_before() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a")), (houses, "y", House("a"))])
    graph.commit([(houses, "x", House("b"))])
    assert graph.read(street, "a") == ("y",)
