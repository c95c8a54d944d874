"""Label selection both ways; only selections that a relabelled row can touch are visited."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from controlplane.graph import Graph, Labels, Q, Table, contains, query
from tests.unit.graph.town import runs


class Key(NamedTuple):
    namespace: str
    name: str


pods = Table("pods", labels=lambda value: value, namespace=lambda key: key.namespace)
rules = Table("rules", selector=lambda value: value[0], namespace=lambda key: key.namespace)
loose = Table("loose", labels=lambda value: value)

X, Y = ("app", "x"), ("app", "y")
V1, V2 = ("version", "1"), ("version", "2")


@query
def selected(q: Q, namespace: str, *selector: tuple[str, str]) -> tuple[Key, ...]:
    return q.select(pods, namespace, selector)


@query
def selecting(q: Q, namespace: str, *labels: tuple[str, str]) -> tuple[Key, ...]:
    return q.selecting(rules, namespace, labels)


def rule(*selector: tuple[str, str], text: str = "") -> tuple[Labels | None, str]:
    return (selector, text)


def test_contains_wants_every_pair() -> None:
    assert contains((X, V1), (X,))
    assert contains((X,), ())
    assert not contains((X,), (X, V1))
    assert not contains((X,), (Y,))


def test_a_selector_selects_rows_that_have_all_its_pairs() -> None:
    graph = Graph()
    graph.commit(
        [(pods, Key("a", "1"), (X, V1)), (pods, Key("a", "2"), (X,)), (pods, Key("b", "3"), (X, V1))]
    )
    assert graph.read(selected, "a", X) == (Key("a", "1"), Key("a", "2"))
    assert graph.read(selected, "a", X, V1) == (Key("a", "1"),)
    assert graph.read(selected, "", X, V1) == (Key("a", "1"), Key("b", "3"))
    assert graph.read(selected, "c", X) == ()


def test_the_empty_selector_selects_all_that_have_labels() -> None:
    graph = Graph()
    graph.commit([(pods, Key("a", "1"), ()), (pods, Key("a", "2"), (X,))])
    assert graph.read(selected, "a") == (Key("a", "1"), Key("a", "2"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((X,), (X, V1), {X: 0, V1: 1}),
        ((X, V1), (Y, V1), {X: 1, V1: 0}),
        ((X, V1), (X, V2), {X: 0, V1: 1}),
        ((Y,), (Y, V2), {X: 0, V1: 0}),
    ],
)
def test_only_selections_that_gain_or_lose_the_row_run(
    before: Labels, after: Labels, expected: object
) -> None:
    graph = Graph()
    key = Key("a", "1")
    graph.commit([(pods, key, before)])
    leases = {pair: graph.lease(selected, "a", pair) for pair in (X, V1)}
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(pods, key, after)])
    assert ran["selected"] == sum(expected.values())
    for pair, lease in leases.items():
        assert lease.value == ((key,) if pair in after else ())


def test_a_relabelled_row_of_another_namespace_moves_nothing_here() -> None:
    graph = Graph()
    here, everywhere = graph.lease(selected, "a", X), graph.lease(selected, "", X)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(pods, Key("b", "1"), (X,))])
    assert ran == {"selected": 1}
    assert (here.value, everywhere.value) == ((), (Key("b", "1"),))


def test_rows_come_and_go() -> None:
    graph = Graph()
    lease = graph.lease(selected, "a", X)
    graph.commit([(pods, Key("a", "1"), (X,))])
    graph.settle()
    assert lease.value == (Key("a", "1"),)
    graph.commit([(pods, Key("a", "1"), None)])
    graph.settle()
    assert lease.value == ()


def test_selecting_finds_selectors_that_the_labels_contain() -> None:
    graph = Graph()
    graph.commit(
        [
            (rules, Key("a", "all"), rule()),
            (rules, Key("a", "x"), rule(X)),
            (rules, Key("a", "x1"), rule(X, V1)),
            (rules, Key("a", "y"), rule(Y)),
            (rules, Key("a", "never"), (None, "")),
        ]
    )
    assert graph.read(selecting, "a", X) == (Key("a", "all"), Key("a", "x"))
    assert graph.read(selecting, "a", X, V1) == (Key("a", "all"), Key("a", "x"), Key("a", "x1"))
    assert graph.read(selecting, "a") == (Key("a", "all"),)
    assert graph.read(selecting, "b", X) == ()


def test_only_labels_that_a_changed_selector_can_match_run() -> None:
    graph = Graph()
    key = Key("a", "r")
    graph.commit([(rules, key, rule(X))])
    leases = {labels: graph.lease(selecting, "a", *labels) for labels in ((X,), (Y,), (X, V1), (Y, V1), ())}
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(rules, key, rule(Y))])
    assert ran == {"selecting": 4}
    with runs(graph) as ran:
        graph.commit([(rules, key, rule(Y, V1))])
    assert ran == {"selecting": 1}
    assert [labels for labels, lease in leases.items() if lease.value] == [(Y, V1)]
    with runs(graph) as ran:
        graph.commit([(rules, key, (None, ""))])
    assert ran == {"selecting": 1}
    with runs(graph) as ran:
        graph.commit([(rules, key, rule())])
    assert ran == {"selecting": 5}


def test_a_changed_row_with_the_same_selector_moves_nothing() -> None:
    graph = Graph()
    graph.commit([(rules, Key("a", "r"), rule(X))])
    graph.lease(selecting, "a", X)
    graph.settle()
    with runs(graph) as ran:
        graph.commit([(rules, Key("a", "r"), rule(X, text="other"))])
    assert not ran


def test_a_table_without_namespaces_is_selected_as_a_whole() -> None:
    @query
    def all_loose(q: Q, namespace: str) -> tuple[str, ...]:
        return q.select(loose, namespace, (X,))

    graph = Graph()
    graph.commit([(loose, "1", (X,))])
    assert graph.read(all_loose, "") == ("1",)
    assert graph.read(all_loose, "a") == ()


def test_nothing_is_left_when_rows_and_readers_are_gone() -> None:
    graph = Graph()
    graph.commit([(pods, Key("a", "1"), (X, V1)), (rules, Key("a", "r"), rule(X))])
    leases = [graph.lease(selected, "a", X, V1), graph.lease(selecting, "a", X, V1)]
    graph.settle()
    graph.commit([(pods, Key("a", "1"), None), (rules, Key("a", "r"), None)])
    for lease in leases:
        lease.release()
    graph.settle()
    graph.sweep()
    assert graph.size() == 0
    assert graph.rows(pods).selection.empty()
    assert graph.rows(rules).selection.empty()
