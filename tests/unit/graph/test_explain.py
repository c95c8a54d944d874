"""Explaining: the way down to the input that changed a node, and all the rows it was made of."""

from __future__ import annotations

from typing import Any

from controlplane.graph import Graph, Plan, Q, Table, each, explain, flat, group, keyed, query
from tests.unit.graph.town import House, graph_with, houses, numbers, put

pods = Table("pods", labels=lambda value: value, namespace=lambda key: key[0])


@query
def number(q: Q, key: str) -> int:
    return q.get(numbers, key) or 0


@query
def is_even(q: Q, key: str) -> bool:
    return q(number, key) % 2 == 0


@query
def sum_of_two(q: Q) -> int:
    return q(number, "a") + q(number, "b")


@keyed
def all_numbers(q: Q) -> Plan:
    return each(q.members(numbers), number)


@query
def named(q: Q, key: str) -> tuple[tuple[str, int], ...]:
    return ((f"{key}!", q(number, key)),)


@keyed
def by_name(q: Q) -> Plan:
    return flat(q.map(all_numbers), named)


@query
def shelved(q: Q, key: str) -> tuple[tuple[bool, str], ...]:
    return ((q(is_even, key), key),)


@keyed
def shelves(q: Q) -> Plan:
    return group(q.members(numbers), shelved)


@query
def evens(q: Q) -> tuple[str, ...]:
    return q.keys(q.part(shelves, (), True))


@query
def entry_a(q: Q) -> int | None:
    return q.at(by_name, (), "a!")


def nodes(steps: tuple[explain.Step, ...]) -> list[str]:
    return [step.node.replace("test_explain.", "") for step in steps]


def test_why_ends_at_the_input_that_changed() -> None:
    graph = graph_with(a=1, b=1)
    lease = graph.lease(sum_of_two)
    graph.settle()
    put(graph, b=2)
    graph.settle()
    steps = explain.why(graph, lease)
    assert nodes(steps) == ["sum_of_two()", "number(b)", "numbers[b]"]
    assert {step.revision for step in steps} == {2}
    put(graph, a=2)
    graph.settle()
    steps = explain.why(graph, lease)
    assert nodes(steps) == ["sum_of_two()", "number(a)", "numbers[a]"]
    assert steps[-1].revision == 3


def test_why_knows_inputs_that_are_older_than_the_lease() -> None:
    graph = graph_with(a=1)
    put(graph, b=1)
    put(graph, c=1)
    lease = graph.lease(sum_of_two)
    graph.settle()
    steps = explain.why(graph, lease)
    assert nodes(steps) == ["sum_of_two()", "number(b)", "numbers[b]"]
    assert steps[-1].revision == 2


def test_a_change_that_was_cut_off_is_no_reason() -> None:
    graph = graph_with(a=1)
    put(graph, other=1)
    lease = graph.lease(is_even, "a")
    graph.settle()
    put(graph, a=3)
    graph.settle()
    assert explain.why(graph, lease)[0].revision != 3


def test_why_of_one_key_of_a_map() -> None:
    graph = graph_with(a=1, b=1)
    lease = graph.lease(by_name)
    graph.settle()
    put(graph, b=2)
    put(graph, c=2)
    graph.settle()
    steps = explain.why(graph, lease, "b!")
    assert nodes(steps) == ["named(b)", "number(b)", "numbers[b]"]
    assert steps[-1].revision == 2
    assert explain.why(graph, lease, "c!")[-1].revision == 3


def test_why_of_a_whole_map_ends_at_the_newest_change() -> None:
    graph = graph_with(a=1, b=1)
    lease = graph.lease(by_name)
    graph.settle()
    put(graph, b=None)
    graph.settle()
    steps = explain.why(graph, lease)
    assert nodes(steps)[0] == "by_name()"
    assert nodes(steps)[-1] == "all numbers"
    assert steps[-1].revision == 2


def test_why_goes_through_entries_groups_and_keys_of_maps() -> None:
    graph = graph_with(a=1, b=2)
    leases = [graph.lease(what) for what in (entry_a, evens)]
    graph.settle()
    put(graph, a=4)
    graph.settle()
    assert nodes(explain.why(graph, leases[0])) == [
        "entry_a()",
        "by_name()[a!]",
        "named(a)",
        "number(a)",
        "numbers[a]",
    ]
    assert nodes(explain.why(graph, leases[1])) == [
        "evens()",
        "shelves()[True]",
        "shelved(a)",
        "is_even(a)",
        "number(a)",
        "numbers[a]",
    ]


def test_why_of_a_circle_ends() -> None:
    @query
    def around(q: Q, n: int) -> int:
        q.get(numbers, "a")
        return q(around, (n + 1) % 3)

    graph = graph_with(a=1)
    lease = graph.lease(around, 0)
    graph.settle()
    assert nodes(explain.why(graph, lease))[-1] == "numbers[a]"
    assert explain.sources(lease) == (("numbers", "a"),)


def test_sources_are_all_rows_below() -> None:
    graph = graph_with(a=1, b=2, c=3)
    lease, map_lease = graph.lease(sum_of_two), graph.lease(by_name)
    graph.settle()
    assert explain.sources(lease) == (("numbers", "a"), ("numbers", "b"))
    assert explain.sources(map_lease) == tuple(("numbers", key) for key in "abc")
    assert explain.sources(map_lease, "b!") == (("numbers", "b"),)
    assert len(explain.sources(lease, most=1)) == 1


def test_rows_that_do_not_exist_are_no_sources() -> None:
    graph = graph_with(a=1)
    lease = graph.lease(sum_of_two)
    graph.settle()
    assert explain.sources(lease) == (("numbers", "a"),)


def test_changed_sources_are_those_whose_change_came_through() -> None:
    @query
    def even_and_number(q: Q) -> tuple[bool, int]:
        return (q(is_even, "a"), q(number, "b"))

    graph = graph_with(a=2, b=1, c=1)
    lease = graph.lease(even_and_number)
    graph.settle()

    def changed(since: int) -> list[str]:
        return sorted(key for _, key in explain.changed_sources(graph, lease, None, since))

    first = graph.revision
    assert changed(first) == ["a", "b"]
    put(graph, a=4)  # still even: it does not come through
    graph.settle()
    put(graph, c=2)
    graph.settle()
    assert changed(first + 1) == []
    put(graph, b=2)
    graph.settle()
    assert changed(graph.revision) == ["b"]
    assert changed(graph.revision + 1) == []


def test_the_members_of_indexes_and_selections_are_sources() -> None:
    @query
    def neighbours(q: Q) -> tuple[Any, ...]:
        return (q.index(houses, "street", "main"), q.select(pods, "a", (("app", "x"),)))

    graph = Graph()
    graph.commit(
        [
            (houses, "x", House()),
            (houses, "y", House("other")),
            (pods, ("a", "1"), (("app", "x"),)),
            (pods, ("a", "2"), (("app", "y"),)),
        ]
    )
    lease = graph.lease(neighbours)
    graph.settle()
    assert explain.sources(lease) == (("houses", "x"), ("pods", ("a", "1")))


def test_fixed_keys_are_no_sources() -> None:
    @keyed
    def some(q: Q) -> Plan:
        return each(q.fixed("a", "z"), number)

    graph = graph_with(a=1)
    lease = graph.lease(some)
    graph.settle()
    assert explain.sources(lease) == (("numbers", "a"),)


def test_sources_of_a_group_are_those_of_the_members_that_give_to_it() -> None:
    graph = graph_with(a=2, b=1, c=4)
    lease, root = graph.lease(shelves), graph.lease(evens)
    graph.settle()
    assert explain.sources(root) == (("numbers", "a"), ("numbers", "c"))
    assert explain.sources(lease, False) == (("numbers", "b"),)


def test_a_failed_key_leads_to_what_it_was_made_of() -> None:
    @query
    def strict(q: Q, key: str) -> tuple[tuple[str, int], ...]:
        return ((f"{key}!", 1 // (q.get(numbers, key) - 1)),)

    @keyed
    def all_strict(q: Q) -> Plan:
        return flat(q.members(numbers), strict)

    graph = graph_with(a=2, b=2)
    lease = graph.lease(all_strict)
    graph.settle()
    put(graph, b=1)
    graph.settle()
    assert explain.sources(lease, "b!") == (("numbers", "b"),)


def test_old_commits_are_forgotten_and_say_zero() -> None:
    graph = graph_with(a=1)
    lease = graph.lease(number, "a")
    graph.settle()
    for n in range(5000):
        put(graph, b=n)
    assert explain.why(graph, lease)[-1].revision == 0
