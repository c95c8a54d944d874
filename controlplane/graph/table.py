"""Inputs: tables of frozen values by key, with the indexes and selections that queries may ask.

A `Table` only declares; the values live in one `Rows` per graph.  Nodes exist just for what was
read, so a table of ten thousand rows that nobody asks costs its dictionary.  A read that found
nothing is a node too: an absent cell, an empty bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from controlplane.graph.node import Node, show

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

Labels = tuple[tuple[str, str], ...]
Change = tuple["Table", Hashable, Any]
Pair = tuple[str, str]
Registry = dict[tuple[str, Pair | None], dict[Any, Labels]]


class Table:
    """A declaration: a name, index functions, and what counts as labels, selector and namespace.

    An index function gets (key, value) and yields the index keys under which the row is found.
    `labels(value)` and `selector(value)` return sorted pairs, or None for "has none, never matches".
    """

    __slots__ = ("indexes", "labels", "name", "namespace", "selector")

    def __init__(
        self,
        name: str,
        *,
        indexes: Mapping[str, Callable[[Any, Any], Iterable[Hashable]]] | None = None,
        labels: Callable[[Any], Labels | None] | None = None,
        selector: Callable[[Any], Labels | None] | None = None,
        namespace: Callable[[Any], str] | None = None,
    ) -> None:
        self.name = name
        self.indexes = dict(indexes or {})
        self.labels = labels
        self.selector = selector
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"Table({self.name})"


class Cell(Node):
    """One row as a dependency; its value is None while the row is absent."""

    __slots__ = ("key", "rows", "value")

    def __init__(self, rows: Rows, key: Hashable) -> None:
        super().__init__()
        self.rows = rows
        self.key = key
        self.value = rows.values.get(key)
        self.changed = rows.ticks.get(key, 0)

    def free(self, graph: Graph) -> None:
        self.rows.cells.pop(self.key, None)

    def describe(self) -> str:
        return f"{self.rows.table.name}[{show((self.key,))}]"


class Bucket(Node):
    """A set of row keys as a dependency: an index bucket, a selection, or all rows.

    It changes when its membership changes, never when a member's content does.
    """

    __slots__ = ("_sorted", "home", "members", "name", "where")

    def __init__(
        self, home: dict[Any, Bucket], where: Hashable, members: Iterable[Hashable], name: str
    ) -> None:
        super().__init__()
        self.home = home
        self.where = where
        self.members: set[Any] = set(members)
        self.name = name
        self._sorted: tuple[Any, ...] | None = None

    def __contains__(self, key: object) -> bool:
        return key in self.members

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def keys(self) -> tuple[Any, ...]:
        """The members, sorted."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self.members))
        return self._sorted

    def move(self, graph: Graph, key: Hashable, present: bool) -> None:
        """Add or remove one member and tell the readers which one it was."""
        if present:
            self.members.add(key)
        else:
            self.members.discard(key)
        self._sorted = None
        graph.touch(self, key)

    def free(self, graph: Graph) -> None:
        self.home.pop(self.where, None)

    def describe(self) -> str:
        return self.name


class Choice(Bucket):
    """A bucket of a selection; registered under label pairs so that changes find it."""

    __slots__ = ("entries", "registry")

    def __init__(
        self, home: dict[Any, Bucket], where: Hashable, members: Iterable[Hashable], name: str
    ) -> None:
        super().__init__(home, where, members, name)
        self.registry: Registry = {}
        self.entries: list[tuple[str, Pair | None]] = []

    def register(
        self, registry: Registry, space: str, labels: Labels, pairs: tuple[Pair | None, ...]
    ) -> None:
        """Be found by changes of rows that have one of these pairs."""
        self.registry = registry
        self.entries = [(space, pair) for pair in pairs]
        for entry in self.entries:
            registry.setdefault(entry, {})[self.where] = labels

    def free(self, graph: Graph) -> None:
        super().free(graph)
        for entry in self.entries:
            _drop(self.registry, entry, self.where)


def contains(labels: Labels, selector: Labels) -> bool:
    """Whether each pair of `selector` is among `labels`."""
    if not selector:
        return True
    return set(selector).issubset(labels)


class Rows:
    """The values of one table in one graph, its index sets, and the nodes that watch them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.values: dict[Any, Any] = {}
        self.ticks: dict[Any, int] = {}
        self.cells: dict[Any, Cell] = {}
        self.sets: dict[str, dict[Any, set[Any]]] = {name: {} for name in table.indexes}
        self.buckets: dict[Any, Bucket] = {}
        self.selection = Selection(table)

    def cell(self, key: Hashable) -> Cell:
        node = self.cells.get(key)
        if node is None:
            node = self.cells[key] = Cell(self, key)
        return node

    def everything(self) -> Bucket:
        node = self.buckets.get(None)
        if node is None:
            node = self.buckets[None] = Bucket(self.buckets, None, self.values, f"all {self.table.name}")
        return node

    def bucket(self, index: str, key: Hashable) -> Bucket:
        where = (index, key)
        node = self.buckets.get(where)
        if node is None:
            name = f"{self.table.name} by {index} = {show((key,))}"
            members = self.sets[index].get(key, ())
            node = self.buckets[where] = Bucket(self.buckets, where, members, name)
        return node

    def put(self, graph: Graph, key: Hashable, value: Any) -> bool:
        """Set one row (None removes it); returns False when it was equal already."""
        old = self.values.get(key)
        if old == value:
            return False
        if value is None:
            del self.values[key]
            self.ticks.pop(key, None)
        else:
            self.values[key] = value
            self.ticks[key] = graph.tick + 1
        cell = self.cells.get(key)
        if cell is not None:
            cell.value = value
            graph.touch(cell, key)
        if (old is None) != (value is None):
            everything = self.buckets.get(None)
            if everything is not None:
                everything.move(graph, key, value is not None)
        self._reindex(graph, key, old, value)
        self.selection.put(graph, key, old, value)
        return True

    def _reindex(self, graph: Graph, key: Hashable, old: Any, new: Any) -> None:
        for index, function in self.table.indexes.items():
            before = set() if old is None else set(function(key, old))
            after = set() if new is None else set(function(key, new))
            if before == after:
                continue
            sets = self.sets[index]
            for where in before - after:
                rest = sets[where]
                rest.discard(key)
                if not rest:
                    del sets[where]
                self._move(graph, (index, where), key, False)
            for where in after - before:
                sets.setdefault(where, set()).add(key)
                self._move(graph, (index, where), key, True)

    def _move(self, graph: Graph, where: Hashable, key: Hashable, present: bool) -> None:
        bucket = self.buckets.get(where)
        if bucket is not None:
            bucket.move(graph, key, present)


class Selection:
    """Label selection both ways: rows that a selector selects, and rows whose selector selects me.

    Watching nodes are found by one label pair, so a relabelled row visits the selections that could
    gain or lose it and no others.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.select_nodes: dict[Any, Bucket] = {}
        self.selecting_nodes: dict[Any, Bucket] = {}
        # (namespace or "" for all, a label pair or None) -> keys of rows having that pair; None: all rows.
        self._labelled: Registry = {}
        # The same for selectors, by their first pair; None: the empty selector.
        self._selectors: Registry = {}
        self._select_by_pair: Registry = {}
        self._selecting_by_pair: Registry = {}

    def select(self, namespace: str, selector: Labels) -> Bucket:
        where = (namespace, selector)
        node = self.select_nodes.get(where)
        if node is None:
            first = selector[0] if selector else None
            candidates = self._labelled.get((namespace, first), {})
            members = [k for k, labels in candidates.items() if contains(labels, selector)]
            name = f"{self.table.name} in {namespace or '*'} selected by {show(selector)}"
            choice = Choice(self.select_nodes, where, members, name)
            choice.register(self._select_by_pair, namespace, selector, (first,))
            node = self.select_nodes[where] = choice
        return node

    def selecting(self, namespace: str, labels: Labels) -> Bucket:
        where = (namespace, labels)
        node = self.selecting_nodes.get(where)
        if node is None:
            members = [
                key
                for pair in (None, *labels)
                for key, selector in self._selectors.get((namespace, pair), {}).items()
                if contains(labels, selector)
            ]
            name = f"{self.table.name} in {namespace or '*'} selecting {show(labels)}"
            choice = Choice(self.selecting_nodes, where, members, name)
            choice.register(self._selecting_by_pair, namespace, labels, (None, *labels))
            node = self.selecting_nodes[where] = choice
        return node

    def put(self, graph: Graph, key: Any, old: Any, new: Any) -> None:
        """Follow one row's change."""
        spaces = ("",) if self.table.namespace is None else ("", self.table.namespace(key))
        if self.table.labels is not None:
            before = None if old is None else self.table.labels(old)
            after = None if new is None else self.table.labels(new)
            if before != after:
                self._relabel(graph, key, spaces, before, after)
        if self.table.selector is not None:
            before = None if old is None else self.table.selector(old)
            after = None if new is None else self.table.selector(new)
            if before != after:
                self._reselect(graph, key, spaces, before, after)

    def _relabel(
        self, graph: Graph, key: Any, spaces: tuple[str, ...], before: Labels | None, after: Labels | None
    ) -> None:
        for space in spaces:
            for pair in _pairs(before):
                _drop(self._labelled, (space, pair), key)
            for pair in _pairs(after):
                self._labelled.setdefault((space, pair), {})[key] = after or ()
            affected: dict[Any, Labels] = {}
            for pair in {*_pairs(before), *_pairs(after)}:
                affected.update(self._select_by_pair.get((space, pair), {}))
            for where, selector in affected.items():
                now = after is not None and contains(after, selector)
                node = self.select_nodes[where]
                if now != (key in node.members):
                    node.move(graph, key, now)

    def _reselect(
        self, graph: Graph, key: Any, spaces: tuple[str, ...], before: Labels | None, after: Labels | None
    ) -> None:
        for space in spaces:
            affected: dict[Any, Labels] = {}
            if before is not None:
                _drop(self._selectors, (space, _first(before)), key)
                affected.update(self._selecting_by_pair.get((space, _first(before)), {}))
            if after is not None:
                self._selectors.setdefault((space, _first(after)), {})[key] = after
                affected.update(self._selecting_by_pair.get((space, _first(after)), {}))
            for where, labels in affected.items():
                now = after is not None and contains(labels, after)
                node = self.selecting_nodes[where]
                if now != (key in node.members):
                    node.move(graph, key, now)


def _pairs(labels: Labels | None) -> tuple[Pair | None, ...]:
    return () if labels is None else (None, *labels)


def _first(selector: Labels) -> Pair | None:
    return selector[0] if selector else None


def _drop(index: Registry, where: tuple[str, Pair | None], key: Any) -> None:
    rows = index.get(where)
    if rows is not None:
        rows.pop(key, None)
        if not rows:
            del index[where]
