"""Label selection both ways: rows that a selector selects, and rows whose selector selects me.

Watching nodes are found by one label pair, so a relabelled row visits the selections that could
gain or lose it and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Any

from controlplane.graph.bucket import Bucket
from controlplane.graph.node import show

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

Labels = tuple[tuple[str, str], ...]
Pair = tuple[str, str]
# A namespace, or "" for all, and the labels or the selector asked about.
Place = tuple[str, Labels]
# The same with one pair, or None.
Entry = tuple[str, Pair | None]
# What is known by it.
Registry = dict[Entry, dict[Any, Labels]]


def contains(labels: Labels, selector: Labels) -> bool:
    """Whether each pair of `selector` is among `labels`."""
    if not selector:
        return True
    return set(selector).issubset(labels)


class Choice(Bucket):
    """A bucket of a selection; registered under label pairs so that changes find it.

    Every proxy has some of these for itself, nearly all of them empty: what can be made of `where`, a
    namespace and labels, when it is asked for is not kept.
    """

    __slots__ = ("_registry",)

    where: Place

    def __init__(
        self, home: dict[Any, Bucket], where: Place, members: list[Hashable], table: str, registry: Registry
    ) -> None:
        super().__init__(home, where, members, table)
        self._registry = registry
        for entry in self.entries(where):
            registry.setdefault(entry, {})[where] = where[1]

    @staticmethod
    def entries(where: Place) -> list[Entry]:
        """What it is registered under: it is found by changes of rows that have one of these pairs."""
        raise NotImplementedError

    def free(self, graph: Graph) -> None:
        super().free(graph)
        for entry in self.entries(self.where):
            _drop(self._registry, entry, self.where)


class Selected(Choice):
    """The rows that a selector selects."""

    __slots__ = ()

    @staticmethod
    def entries(where: Place) -> list[Entry]:
        namespace, selector = where
        return [(namespace, _first(selector))]

    def describe(self) -> str:
        namespace, selector = self.where
        return f"{self.table} in {namespace or '*'} selected by {show(selector)}"


class Selecting(Choice):
    """The rows whose selector selects something with these labels."""

    __slots__ = ()

    @staticmethod
    def entries(where: Place) -> list[Entry]:
        namespace, labels = where
        return [(namespace, pair) for pair in (None, *labels)]

    def describe(self) -> str:
        namespace, labels = self.where
        return f"{self.table} in {namespace or '*'} selecting {show(labels)}"


class Selection:
    """The selections over one table."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._selects: dict[Any, Bucket] = {}
        self._selectings: dict[Any, Bucket] = {}
        # Keys of rows by each of their label pairs; None: all rows that have labels.
        self._labelled: Registry = {}
        # The same for selectors, by their first pair; None: the empty selector.
        self._selectors: Registry = {}
        # The selections by the pairs under which they are registered.
        self._select_by_pair: Registry = {}
        self._selecting_by_pair: Registry = {}

    def nodes(self) -> int:
        """How many selections are watched."""
        return len(self._selects) + len(self._selectings)

    def empty(self) -> bool:
        """Whether nothing is left of any row or selection."""
        return not any(
            (self._labelled, self._selectors, self._select_by_pair, self._selecting_by_pair, self.nodes())
        )

    def select(self, namespace: str, selector: Labels) -> Bucket:
        """The rows whose labels contain `selector`."""
        where = (namespace, selector)
        node = self._selects.get(where)
        if node is None:
            found = self._labelled.get((namespace, _first(selector)), {})
            members = [key for key, labels in found.items() if contains(labels, selector)]
            node = Selected(self._selects, where, members, self._table, self._select_by_pair)
            self._selects[where] = node
        return node

    def selecting(self, namespace: str, labels: Labels) -> Bucket:
        """The rows whose selector is contained in `labels`."""
        where = (namespace, labels)
        node = self._selectings.get(where)
        if node is None:
            members = [
                key
                for entry in Selecting.entries(where)
                for key, selector in self._selectors.get(entry, {}).items()
                if contains(labels, selector)
            ]
            node = Selecting(self._selectings, where, members, self._table, self._selecting_by_pair)
            self._selectings[where] = node
        return node

    def relabel(
        self,
        graph: Graph,
        key: Hashable,
        spaces: Collection[str],
        before: Labels | None,
        after: Labels | None,
    ) -> None:
        """Follow a row whose labels changed; None: it had, or has, none."""
        for space in spaces:
            for pair in _pairs(before):
                _drop(self._labelled, (space, pair), key)
            for pair in _pairs(after):
                self._labelled.setdefault((space, pair), {})[key] = after or ()
            affected: dict[Any, Labels] = {}
            for pair in dict.fromkeys((*_pairs(before), *_pairs(after))):
                affected.update(self._select_by_pair.get((space, pair), {}))
            for where, selector in affected.items():
                now = after is not None and contains(after, selector)
                _move(graph, self._selects[where], key, now)

    def reselect(
        self,
        graph: Graph,
        key: Hashable,
        spaces: Collection[str],
        before: Labels | None,
        after: Labels | None,
    ) -> None:
        """Follow a row whose selector changed; None: it had, or has, none."""
        for space in spaces:
            affected: dict[Any, Labels] = {}
            if before is not None:
                entry = (space, _first(before))
                _drop(self._selectors, entry, key)
                affected.update(self._selecting_by_pair.get(entry, {}))
            if after is not None:
                entry = (space, _first(after))
                self._selectors.setdefault(entry, {})[key] = after
                affected.update(self._selecting_by_pair.get(entry, {}))
            for where, labels in affected.items():
                now = after is not None and contains(labels, after)
                _move(graph, self._selectings[where], key, now)


def _move(graph: Graph, node: Bucket, key: Hashable, present: bool) -> None:
    if present != (key in node.members):
        node.move(graph, key, present)


def _pairs(labels: Labels | None) -> tuple[Pair | None, ...]:
    return () if labels is None else (None, *labels)


def _first(selector: Labels) -> Pair | None:
    return selector[0] if selector else None


def _drop(index: Registry, where: tuple[str, Pair | None], key: Hashable) -> None:
    rows = index.get(where)
    if rows is not None:
        rows.pop(key, None)
        if not rows:
            del index[where]
