"""Keyed maps made with `each`: one child per key, and only the touched ones are visited."""

from __future__ import annotations

from controlplane.graph import Graph, Plan, Q, each, keyed, query
from tests.unit.graph.town import House, content, houses, numbers, put, runs


@query
def paint(q: Q, key: str) -> str | None:
    house = q.get(houses, key)
    return None if house.paint == "none" else house.paint


@keyed
def paints(q: Q, street: str) -> Plan:
    return each(q.bucket(houses, "street", street), paint)


@query
def scaled(q: Q, factor: int, key: str) -> int:
    return factor * (q.get(numbers, key) or 0)


@keyed
def two_streets(q: Q) -> Plan:
    return each((q.bucket(houses, "street", "a"), q.bucket(houses, "street", "b")), paint)


@keyed
def all_scaled(q: Q, factor: int) -> Plan:
    return each(q.members(numbers), scaled, factor)


@keyed
def scaled_twice(q: Q, factor: int) -> Plan:
    return each(q.map(all_scaled, factor), scaled, factor)


def test_each_key_has_its_value() -> None:
    graph = Graph()
    graph.commit(
        [(houses, "x", House("a")), (houses, "y", House("a", paint="red")), (houses, "z", House("b"))]
    )
    lease = graph.lease(paints, "a")
    graph.settle()
    assert content(lease) == {"x": "white", "y": "red"}
    assert len(lease) == 2
    assert "x" in lease and "z" not in lease
    assert lease.get("z") is None


def test_a_changed_member_runs_alone() -> None:
    graph = Graph()
    graph.commit([(houses, f"h{n}", House("a")) for n in range(50)])
    lease = graph.lease(paints, "a")
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "h7", House("a", paint="blue"))])
    assert ran == {"paint": 1}
    assert lease.get("h7") == "blue"


def test_a_new_member_runs_alone_and_a_lost_one_runs_nothing() -> None:
    graph = Graph()
    graph.commit([(houses, f"h{n}", House("a")) for n in range(50)])
    lease = graph.lease(paints, "a")
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "h77", House("a"))])
    assert ran == {"paint": 1}
    assert len(lease) == 51
    with runs(graph) as ran:
        graph.commit([(houses, "h7", None)])
    assert not ran
    assert len(lease) == 50


def test_none_leaves_the_key_out() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a", paint="none")), (houses, "y", House("a"))])
    lease = graph.lease(paints, "a")
    graph.settle()
    assert lease.keys() == ("y",)
    graph.commit([(houses, "x", House("a")), (houses, "y", House("a", paint="none"))])
    graph.settle()
    assert content(lease) == {"x": "white"}


def test_a_key_of_two_sources_is_there_once_and_stays_until_both_let_it_go() -> None:
    graph = Graph()
    put(graph, a=1, b=2)

    @keyed
    def union(q: Q) -> Plan:
        return each((q.members(numbers), q.bucket(houses, "street", "s")), scaled, 1)

    lease = graph.lease(union)
    graph.commit([(houses, "a", House("s")), (houses, "c", House("s"))])
    graph.settle()
    assert content(lease) == {"a": 1, "b": 2, "c": 0}
    put(graph, a=None)
    graph.settle()
    assert content(lease) == {"a": 0, "b": 2, "c": 0}
    graph.commit([(houses, "a", None)])
    graph.settle()
    assert content(lease) == {"b": 2, "c": 0}


def test_a_member_that_moves_between_two_sources_of_a_map_does_not_run_twice() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a"))])
    lease = graph.lease(two_streets)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, "x", House("b"))])
    assert ran == {"paint": 1}  # it read the row, which has changed
    assert lease.since(1) is not None
    assert content(lease) == {"x": "white"}


def test_maps_with_the_same_child_and_arguments_share_its_results() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a"))])
    with runs(graph) as ran:
        graph.lease(paints, "a")
        graph.lease(two_streets)
    assert ran["paint"] == 1


def test_a_map_over_the_keys_of_a_map() -> None:
    graph = Graph()
    put(graph, a=1, b=2)
    lease = graph.lease(scaled_twice, 3)
    graph.settle()
    assert content(lease) == {"a": 3, "b": 6}
    put(graph, c=3, a=None)
    graph.settle()
    assert content(lease) == {"b": 6, "c": 9}


def test_an_equal_value_of_a_changed_member_publishes_nothing() -> None:
    graph = Graph()
    graph.commit([(houses, "x", House("a", rooms=1))])
    lease = graph.lease(paints, "a")
    graph.settle()
    graph.commit([(houses, "x", House("a", rooms=9))])
    graph.settle()
    delta = lease.since(1)
    assert delta is not None
    assert (delta.upserts, delta.removed) == ((), ())
