"""Inputs: tables of frozen values by key, with the indexes and selections that queries may ask.

A `Table` only declares; the values live in one `Rows` per graph.  Nodes exist just for what was
read, so a table of ten thousand rows that nobody asks costs its dictionary.  A read that found
nothing is a node too: an absent cell, an empty bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from controlplane.graph.bucket import Bucket, Indexed
from controlplane.graph.node import Node, show
from controlplane.graph.selection import Labels, Selection

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

Change = tuple["Table", Hashable, Any]


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

    def traits(self, key: Any, value: Any) -> Traits:
        """By what a row is found; those of an absent row are empty."""
        if value is None:
            return Traits({}, (), None, None)
        return Traits(
            {name: frozenset(function(key, value)) for name, function in self.indexes.items()},
            ("",) if self.namespace is None else ("", self.namespace(key)),
            None if self.labels is None else self.labels(value),
            None if self.selector is None else self.selector(value),
        )

    def __repr__(self) -> str:
        return f"Table({self.name})"


class Traits(NamedTuple):
    """By what a row is found: its keys in each index, the namespaces it counts for, labels, selector."""

    indexes: dict[str, frozenset[Any]]
    spaces: tuple[str, ...]
    labels: Labels | None
    selector: Labels | None


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


class Rows:
    """The values of one table in one graph, its index sets, and the nodes that watch them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.values: dict[Any, Any] = {}
        self.ticks: dict[Any, int] = {}
        self.cells: dict[Any, Cell] = {}
        self.sets: dict[str, dict[Any, set[Any]]] = {name: {} for name in table.indexes}
        self.buckets: dict[Any, Bucket] = {}
        self.selection = Selection(table.name)

    def nodes(self) -> int:
        """How many nodes watch the table."""
        return len(self.cells) + len(self.buckets) + self.selection.nodes()

    def cell(self, key: Hashable) -> Cell:
        """One row, as a node."""
        node = self.cells.get(key)
        if node is None:
            node = self.cells[key] = Cell(self, key)
        return node

    def everything(self) -> Bucket:
        """All keys, as a node."""
        node = self.buckets.get(None)
        if node is None:
            node = self.buckets[None] = Bucket(self.buckets, None, self.values, self.table.name)
        return node

    def bucket(self, index: str, key: Hashable) -> Bucket:
        """The keys under one key of an index, as a node."""
        where = (index, key)
        node = self.buckets.get(where)
        if node is None:
            members = self.sets[index].get(key, ())
            node = self.buckets[where] = Indexed(self.buckets, where, members, self.table.name)
        return node

    def prepare(self, key: Hashable, value: Any) -> Traits | None:
        """Ask the table's functions about a row to come, so that they fail before anything is written."""
        hash(key)
        return None if value is None or value == self.values.get(key) else self.table.traits(key, value)

    def put(self, graph: Graph, key: Hashable, value: Any, traits: Traits | None) -> bool:
        """Set one row (None removes it); returns False when it was equal already."""
        old = self.values.get(key)
        if old is value or old == value:
            return False
        before = self.table.traits(key, old)
        after = traits or self.table.traits(key, value)
        if value is None:
            del self.values[key]
            self.ticks.pop(key, None)
        else:
            self.values[key] = value
            self.ticks[key] = graph.tick
        cell = self.cells.get(key)
        if cell is not None:
            cell.value = value
            graph.touch(cell, key)
        if (old is None) != (value is None):
            everything = self.buckets.get(None)
            if everything is not None:
                everything.move(graph, key, value is not None)
        for index in self.table.indexes:
            self._reindex(graph, index, key, before.indexes.get(index), after.indexes.get(index))
        spaces = after.spaces or before.spaces
        if before.labels != after.labels:
            self.selection.relabel(graph, key, spaces, before.labels, after.labels)
        if before.selector != after.selector:
            self.selection.reselect(graph, key, spaces, before.selector, after.selector)
        return True

    def _reindex(
        self, graph: Graph, index: str, key: Any, before: frozenset[Any] | None, after: frozenset[Any] | None
    ) -> None:
        if before == after:
            return
        old, new = before or frozenset(), after or frozenset()
        sets = self.sets[index]
        for where in old - new:
            rest = sets[where]
            rest.discard(key)
            if not rest:
                del sets[where]
            self._move(graph, (index, where), key, False)
        for where in new - old:
            sets.setdefault(where, set()).add(key)
            self._move(graph, (index, where), key, True)

    def _move(self, graph: Graph, where: Hashable, key: Hashable, present: bool) -> None:
        bucket = self.buckets.get(where)
        if bucket is not None:
            bucket.move(graph, key, present)


class Tables(dict[Table, Rows]):
    """The rows of all tables that have been written or read."""

    def __missing__(self, table: Table) -> Rows:
        rows = self[table] = Rows(table)
        return rows
