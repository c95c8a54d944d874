"""`q`: the handle through which a query reads.  Every read is recorded, also one that finds nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from controlplane.base.errors import GraphError
from controlplane.graph.bucket import Bucket
from controlplane.graph.failure import Failure
from controlplane.graph.keyed import Keyed, Source
from controlplane.graph.memo import P, Query
from controlplane.graph.node import CLEAN, FREED, IDLE, Node
from controlplane.graph.selection import Labels
from controlplane.graph.table import Table

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

R = TypeVar("R")
S = TypeVar("S", bound=Source)


class Q:
    """The reads of the query that is running: `deps`, in the order in which they came."""

    __slots__ = ("_agenda", "_families", "_graph", "_tables", "deps")

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._agenda = graph.agenda
        self._families = graph.families
        self._tables = graph.tables()
        self.deps: dict[Node, None] = {}

    if TYPE_CHECKING:

        def __call__(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
            """The value of another query; raises QueryFailed where that query raised."""
            ...

    else:
        # Arguments by name would be lost in the key of the memo, so there are none.
        def __call__(self, query, /, *args):
            node = self._families[query].memo(args)
            # Recorded before it is refreshed: a failed or restarted run has read it too.
            self.deps[node] = None
            if node.state != CLEAN or node.rank > self._agenda.reach:
                self._agenda.arrive(node)
            value = node.value
            if value.__class__ is Failure:
                raise value.error()
            return value

    def get(self, table: Table, key: Hashable) -> Any:
        """One row, or None."""
        rows = self._tables[table]
        cell = rows.cells.get(key) or rows.cell(key)
        self.deps[cell] = None
        return cell.value

    def index(self, table: Table, index: str, key: Hashable) -> tuple[Any, ...]:
        """The sorted keys of the rows under `key` in an index: membership, not content."""
        return self._members(self._tables[table].bucket(index, key))

    def select(self, table: Table, namespace: str, selector: Labels) -> tuple[Any, ...]:
        """The sorted keys of rows whose labels contain `selector`; namespace "" means all."""
        return self._members(self._tables[table].selection.select(namespace, selector))

    def selecting(self, table: Table, namespace: str, labels: Labels) -> tuple[Any, ...]:
        """The sorted keys of rows whose selector is contained in `labels`; namespace "" means all."""
        return self._members(self._tables[table].selection.selecting(namespace, labels))

    def keys(self, source: Source) -> tuple[Any, ...]:
        """The sorted keys of a collection: membership, not content; QueryFailed where its map failed."""
        self.deps[source] = None
        if source.rank == FREED:
            raise GraphError(f"{source.describe()} was kept by a query: name a collection where it is read")
        self._agenda.arrive(source)
        if source.failure is not None:
            raise source.failure.error()
        return source.keys()

    def at(self, keyed: Keyed[P], args: tuple[Any, ...], key: Hashable) -> Any:
        """The value under one key of a keyed map, or None; QueryFailed where it, or the map, failed."""
        owner = self._graph.keyed(keyed, args)
        entry = owner.entries.get(key) or owner.entry(key)
        self.deps[entry] = None
        if owner.phase != IDLE:
            value = owner.peek(self._graph, key)
        else:
            if owner.dirty or entry.rank > self._agenda.reach:
                self._agenda.arrive(entry)
            value = entry.failure or owner.shape.out.get(key)
        if value.__class__ is Failure:
            raise value.error()
        return value

    def values(self, keyed: Keyed[P], *args: P.args, **kwargs: P.kwargs) -> list[Any]:
        """All values of a keyed map in key order, failed ones left out; for joining frames only."""
        contents = self._graph.keyed(keyed, args).contents_node()
        self.deps[contents] = None
        self._agenda.arrive(contents)
        if contents.failure is not None:
            raise contents.failure.error()
        return contents.values()

    # Collections: where a keyed map's members come from.  Naming one is no dependency; planning is.

    def members(self, table: Table) -> Bucket:
        """All rows of a table, as a collection."""
        return self._collection(self._tables[table].everything())

    def bucket(self, table: Table, index: str, key: Hashable) -> Bucket:
        """The rows under `key` in an index, as a collection."""
        return self._collection(self._tables[table].bucket(index, key))

    def selected(self, table: Table, namespace: str, selector: Labels) -> Bucket:
        """The rows that a selector selects, as a collection."""
        return self._collection(self._tables[table].selection.select(namespace, selector))

    def fixed(self, *keys: Hashable) -> Bucket:
        """A collection of just these keys: the source of a map whose members its arguments name."""
        return self._collection(self._graph.fixed(keys))

    def map(self, keyed: Keyed[P], *args: P.args, **kwargs: P.kwargs) -> Source:
        """The keys of a keyed map, as a collection."""
        return self._collection(self._graph.keyed(keyed, args).keys_node())

    def part(self, keyed: Keyed[P], args: tuple[Any, ...], key: Hashable) -> Source:
        """The items of one group of a keyed map made with `group`, as a collection."""
        return self._collection(self._graph.keyed(keyed, args).part_node(key))

    def _collection(self, source: S) -> S:
        # Swept again unless a map or a query takes it up.
        self._graph.orphans.add(source)
        return source

    def _members(self, bucket: Bucket) -> tuple[Any, ...]:
        self.deps[bucket] = None
        return bucket.keys()
