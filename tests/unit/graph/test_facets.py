"""What a reader of a map depends on: an entry, the membership, all contents, or a group."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.graph import Graph, Plan, Q, each, group, keyed, query
from tests.unit.graph.town import House, houses, runs


@query
def paint(q: Q, key: str) -> str | None:
    house = q.get(houses, key)
    return None if house.paint == "none" else house.paint


@keyed
def paints(q: Q) -> Plan:
    return each(q.members(houses), paint)


@query
def shade(q: Q, key: str) -> tuple[tuple[str, str], ...]:
    return ((q.get(houses, key).paint, key),)


@keyed
def shades(q: Q) -> Plan:
    return group(q.members(houses), shade)


@query
def entry(q: Q) -> str | None:
    return q.at(paints, (), "x")


@query
def membership(q: Q) -> tuple[Any, ...]:
    return q.keys(q.map(paints))


@query
def contents(q: Q) -> list[Any]:
    return q.values(paints)


@query
def part(q: Q) -> tuple[Any, ...]:
    return q.keys(q.part(shades, (), "white"))


@query
def child(q: Q, key: str) -> str:
    return key


@keyed
def over_keys(q: Q) -> Plan:
    return each(q.map(paints), child)


X, Y = House(), House(paint="red")
READERS = {"entry", "membership", "contents", "part", "child"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"x": House(paint="blue")}, {"entry": 1, "contents": 1, "part": 1}, id="value here"),
        pytest.param({"y": House(paint="blue")}, {"contents": 1}, id="value elsewhere"),
        pytest.param({"y": House(paint="white")}, {"contents": 1, "part": 1}, id="value into the group"),
        pytest.param({"x": House(rooms=9)}, {}, id="nothing of interest"),
        pytest.param(
            {"z": House(paint="green")}, {"membership": 1, "contents": 1, "child": 1}, id="a new member"
        ),
        pytest.param({"y": None}, {"membership": 1, "contents": 1}, id="a lost member"),
        pytest.param({"y": House(paint="none")}, {"membership": 1, "contents": 1}, id="a value becomes none"),
        pytest.param(
            {"x": None}, {"membership": 1, "contents": 1, "entry": 1, "part": 1}, id="the member is lost"
        ),
    ],
)
def test_a_change_runs_the_readers_of_the_facets_that_changed(
    change: dict[str, House | None], expected: dict[str, int]
) -> None:
    graph = Graph()
    graph.commit([(houses, "x", X), (houses, "y", Y)])
    for what in (entry, membership, contents, part):
        graph.lease(what)
    graph.lease(over_keys)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, key, value) for key, value in change.items()])
    assert {name: count for name, count in ran.items() if name in READERS} == expected


def test_many_changes_of_one_map_run_a_reader_of_its_contents_once() -> None:
    graph = Graph()
    graph.commit([(houses, f"h{n}", X) for n in range(20)])
    lease = graph.lease(contents)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(houses, f"h{n}", House(paint=str(n))) for n in range(20)])
    assert ran == {"paint": 20, "contents": 1}
    assert len(lease.value) == 20


def test_values_come_in_key_order() -> None:
    graph = Graph()
    lease = graph.lease(contents)
    for key in ("m", "c", "x"):
        graph.commit([(houses, key, House(paint=key))])
        graph.settle()
    assert lease.value == ["c", "m", "x"]


def test_values_leave_failed_members_out() -> None:
    @query
    def risky(q: Q, key: str) -> int:
        return 10 // q.get(houses, key).rooms

    @keyed
    def risks(q: Q) -> Plan:
        return each(q.members(houses), risky)

    @query
    def good(q: Q) -> list[int]:
        return q.values(risks)

    graph = Graph()
    graph.commit([(houses, "x", House(rooms=0)), (houses, "y", House(rooms=2))])
    assert graph.read(good) == [5]


def test_a_map_is_read_without_a_lease_on_it() -> None:
    graph = Graph()
    graph.commit([(houses, "x", X)])
    assert graph.read(entry) == "white"
    assert graph.read(membership) == ("x",)
    assert graph.read(part) == ("x",)
