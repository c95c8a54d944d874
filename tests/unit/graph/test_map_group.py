"""Keyed maps made with `group`: distinct items by key, counted, and read as collections."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.base.errors import QueryFailed
from controlplane.graph import Failure, Graph, Lease, Plan, Q, each, group, keyed, query
from tests.unit.graph.town import content, numbers, put, runs


@query
def given(q: Q, key: str) -> tuple[tuple[Any, Any], ...]:
    value = q.get(numbers, key)
    if value == "boom":
        raise ValueError("boom")
    return value  # type: ignore[no-any-return]


@keyed
def groups(q: Q) -> Plan:
    return group(q.members(numbers), given)


@query
def items(q: Q, key: str) -> tuple[Any, ...]:
    return q.keys(q.part(groups, (), key))


@query
def name(q: Q, suffix: str, item: Any) -> str:
    return f"{item}{suffix}"


@keyed
def named(q: Q, key: str, suffix: str) -> Plan:
    return each(q.part(groups, (), key), name, suffix)


def shown(lease: Lease) -> dict[Any, tuple[Any, ...]]:
    return {key: part.keys() for key, part in content(lease).items()}


def test_items_are_collected_by_key_sorted_and_distinct() -> None:
    graph = Graph()
    put(graph, a=(("x", 2), ("y", 1)), b=(("x", 1), ("x", 2)), c=())
    lease = graph.lease(groups)
    graph.settle()
    assert shown(lease) == {"x": (1, 2), "y": (1,)}
    part = lease.get("x")
    assert list(part) == [1, 2] and 2 in part and 3 not in part


def test_an_item_stays_until_the_last_member_lets_it_go() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),), b=(("x", 1),))
    lease = graph.lease(items, "x")
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=None)
    assert ran == {}
    put(graph, b=())
    graph.settle()
    assert lease.value == ()


def test_a_pair_given_twice_by_one_member_counts_once() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("x", 1)))
    lease = graph.lease(groups)
    graph.settle()
    assert shown(lease) == {"x": (1,)}
    put(graph, a=(("x", 2),))
    graph.settle()
    assert shown(lease) == {"x": (2,)}


def test_only_readers_of_the_groups_that_moved_run() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("y", 1)))
    leases = [graph.lease(items, key) for key in "xy"]
    graph.settle()
    with runs(graph) as ran:
        put(graph, b=(("y", 2),))
    assert ran == {"given": 1, "items": 1}
    assert [lease.value for lease in leases] == [(1,), (1, 2)]


def test_an_item_handed_from_one_member_to_another_is_no_change() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),), b=())
    lease, reader = graph.lease(groups), graph.lease(items, "x")
    graph.settle()
    with runs(graph) as ran:
        put(graph, a=(), b=(("x", 1),))
    assert ran == {"given": 2}
    assert reader.value == (1,)
    delta = lease.since(1)
    assert delta is not None and not delta.upserts and not delta.removed


def test_a_group_is_a_source_whose_members_follow_item_by_item() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("x", 2)))
    lease = graph.lease(named, "x", "!")
    graph.settle()
    assert content(lease) == {1: "1!", 2: "2!"}
    with runs(graph) as ran:
        put(graph, b=(("x", 3),))
    assert ran == {"given": 1, "name": 1}
    put(graph, a=())
    graph.settle()
    assert content(lease) == {3: "3!"}
    put(graph, b=None)
    graph.settle()
    assert content(lease) == {}
    put(graph, b=(("x", 4),))
    graph.settle()
    assert content(lease) == {4: "4!"}


def test_a_map_over_the_keys_follows_groups_that_appear_and_go() -> None:
    @keyed
    def by_group(q: Q) -> Plan:
        return each(q.map(groups), items)

    graph = Graph()
    put(graph, a=(("x", 1),))
    lease = graph.lease(by_group)
    graph.settle()
    assert content(lease) == {"x": (1,)}
    put(graph, b=(("y", 2), ("x", 0)))
    graph.settle()
    assert content(lease) == {"x": (0, 1), "y": (2,)}
    put(graph, a=None, b=None)
    graph.settle()
    assert content(lease) == {}


def test_the_history_names_groups_whose_items_changed() -> None:
    graph = Graph()
    put(graph, a=(("x", 1), ("y", 1)))
    lease = graph.lease(groups)
    graph.settle()
    put(graph, b=(("y", 2), ("z", 1)))
    graph.settle()
    delta = lease.since(1)
    assert delta is not None and (delta.upserts, delta.removed) == (("y", "z"), ())
    put(graph, a=(("y", 1),))
    graph.settle()
    delta = lease.since(2)
    assert delta is not None and (delta.upserts, delta.removed) == ((), ("x",))


def test_the_entry_of_a_group_changes_with_its_items() -> None:
    @query
    def joined(q: Q) -> str:
        part = q.at(groups, (), "x")
        return "" if part is None else "".join(map(str, part))

    graph = Graph()
    put(graph, a=(("x", 1),))
    lease = graph.lease(joined)
    graph.settle()
    put(graph, b=(("x", 2),))
    graph.settle()
    assert lease.value == "12"


def test_a_failed_member_gives_nothing_and_is_named_for_its_groups() -> None:
    graph = Graph()
    put(graph, a=(("x", 1),), b=(("x", 2),))
    lease = graph.lease(groups)
    graph.settle()
    put(graph, a="boom")
    graph.settle()
    assert shown(lease) == {"x": (2,)}
    assert isinstance(lease.failed("x"), Failure)
    put(graph, a=(("x", 1),))
    graph.settle()
    assert shown(lease) == {"x": (1, 2)}
    assert lease.failed("x") is None


@pytest.mark.parametrize("bad", [("odd",), (("x", []),), (([], 1),), 7])
def test_a_child_that_does_not_give_pairs_fails_alone(bad: Any) -> None:
    graph = Graph()
    put(graph, a=(("x", 0),), b=(("x", 2),))
    lease = graph.lease(groups)
    graph.settle()
    put(graph, a=bad)
    graph.settle()
    assert shown(lease) == {"x": (2,)}
    put(graph, a=(("x", 1),))
    graph.settle()
    assert shown(lease) == {"x": (1, 2)}


def test_a_map_of_another_form_has_no_parts() -> None:
    @keyed
    def plain(q: Q) -> Plan:
        return each(q.members(numbers), name, "")

    @query
    def wrong(q: Q) -> tuple[Any, ...]:
        return q.keys(q.part(plain, (), "x"))

    @keyed
    def wrong_map(q: Q) -> Plan:
        return each(q.part(plain, (), "x"), name, "")

    graph = Graph()
    with pytest.raises(QueryFailed, match="has no parts"):
        graph.read(wrong)
    lease = graph.lease(wrong_map)
    graph.settle()
    assert "has no parts" in str(lease.failure)
