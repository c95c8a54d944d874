"""`q`: the handle through which a query reads.  Every read is recorded, also one that finds nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from controlplane.base.errors import QueryFailed
from controlplane.graph.keyed import Keyed, Source
from controlplane.graph.memo import P, Query
from controlplane.graph.node import Failure, Node, State
from controlplane.graph.table import Bucket, Labels, Table

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

R = TypeVar("R")
S = TypeVar("S", bound=Source)


class Q:
    """One run's view of the graph."""

    __slots__ = ("deps", "graph")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.deps: dict[Node, None] = {}

    def __call__(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of another query; raises QueryFailed where that query raised."""
        graph = self.graph
        node = graph.memo(query, args)
        # Recorded before it is refreshed: a failed or restarted run has read it too.
        self.deps[node] = None
        if node.state is not State.CLEAN:
            node.refresh(graph)
        value = node.value
        if value.__class__ is Failure:
            raise QueryFailed(value.node, value.cause)
        return value  # type: ignore[no-any-return]

    def get(self, table: Table, key: Hashable) -> Any:
        """One row, or None."""
        cell = self.graph.rows(table).cell(key)
        self.deps[cell] = None
        return cell.value

    def index(self, table: Table, index: str, key: Hashable) -> tuple[Any, ...]:
        """The sorted keys of the rows under `key` in an index: membership, not content."""
        return self._members(self.graph.rows(table).bucket(index, key))

    def select(self, table: Table, namespace: str, selector: Labels) -> tuple[Any, ...]:
        """The sorted keys of rows whose labels contain `selector`; namespace "" means all."""
        return self._members(self.graph.rows(table).selection.select(namespace, selector))

    def selecting(self, table: Table, namespace: str, labels: Labels) -> tuple[Any, ...]:
        """The sorted keys of rows whose selector is contained in `labels`; namespace "" means all."""
        return self._members(self.graph.rows(table).selection.selecting(namespace, labels))

    def keys(self, source: Source) -> tuple[Any, ...]:
        """The sorted keys of a collection: membership, not content."""
        self.deps[source] = None
        source.refresh(self.graph)
        return source.keys()

    def at(self, keyed: Keyed[P], args: tuple[Any, ...], key: Hashable) -> Any:
        """The value under one key of a keyed map, or None."""
        entry = self.graph.keyed(keyed, args).entry(key)
        self.deps[entry] = None
        entry.refresh(self.graph)
        value = entry.value
        if value.__class__ is Failure:
            raise QueryFailed(value.node, value.cause)
        return value

    def values(self, keyed: Keyed[P], *args: P.args, **kwargs: P.kwargs) -> list[Any]:
        """All values of a keyed map in key order, failed ones left out; for joining frames only."""
        contents = self.graph.keyed(keyed, args).contents()
        self.deps[contents] = None
        contents.refresh(self.graph)
        return contents.values()

    # Collections: where a keyed map's members come from.  Naming one is no dependency; planning is.

    def members(self, table: Table) -> Bucket:
        """All rows of a table, as a collection."""
        return self._collection(self.graph.rows(table).everything())

    def bucket(self, table: Table, index: str, key: Hashable) -> Bucket:
        """The rows under `key` in an index, as a collection."""
        return self._collection(self.graph.rows(table).bucket(index, key))

    def selected(self, table: Table, namespace: str, selector: Labels) -> Bucket:
        """The rows that a selector selects, as a collection."""
        return self._collection(self.graph.rows(table).selection.select(namespace, selector))

    def fixed(self, *keys: Hashable) -> Bucket:
        """A collection of just these keys: the source of a map whose members its arguments name."""
        return self.graph.fixed(keys)

    def map(self, keyed: Keyed[P], *args: P.args, **kwargs: P.kwargs) -> Source:
        """The keys of a keyed map, as a collection."""
        return self._collection(self.graph.keyed(keyed, args).membership())

    def part(self, keyed: Keyed[P], args: tuple[Any, ...], key: Hashable) -> Source:
        """The items of one group of a keyed map made with `group`, as a collection."""
        owner = self.graph.keyed(keyed, args)
        if owner.plan is None:
            # Only its plan tells whether the map has groups.
            owner.refresh(self.graph)
        return self._collection(owner.part(key))

    def _collection(self, source: S) -> S:
        # Swept again unless a map or a query takes it up.
        self.graph.orphans.add(source)
        return source

    def _members(self, bucket: Bucket) -> tuple[Any, ...]:
        self.deps[bucket] = None
        return bucket.keys()
