"""Leases: the roots of the graph.  What is leased is kept, kept up to date, and reports its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError, QueryFailed
from controlplane.graph.history import History
from controlplane.graph.keyed import KeyedMap
from controlplane.graph.memo import Memo
from controlplane.graph.node import Failure

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph


@dataclass(frozen=True, slots=True)
class Delta:
    """The keys of a map that changed or appeared, and those that went; both sorted."""

    upserts: tuple[Any, ...]
    removed: tuple[Any, ...]


class Lease:
    """One holder's claim on a query or a keyed map.

    Reads show the newest settled state; they are meaningful once `graph.settle()` has returned True
    after the lease was taken.
    """

    __slots__ = ("_graph", "_released", "node", "on_change")

    def __init__(self, graph: Graph, node: KeyedMap | Memo) -> None:
        self._graph = graph
        self._released = False
        self.node = node
        self.on_change: Callable[[], None] | None = None
        if node.holds is None:
            node.holds = []
        node.holds.append(self)
        if isinstance(node, KeyedMap) and node.history is None:
            node.history = History(graph.revision)

    @property
    def ready(self) -> bool:
        """Whether the leased node has been computed."""
        node = self.node
        return not node.unsettled if isinstance(node, KeyedMap) else bool(node.verified)

    @property
    def value(self) -> Any:
        """The value of a leased query; raises QueryFailed where the query raised."""
        node = self.node
        if isinstance(node, KeyedMap):
            raise GraphError(f"{node.describe()} is a keyed map: read it by key")
        if node.value.__class__ is Failure:
            raise QueryFailed(node.value.node, node.value.cause)
        return node.value

    @property
    def failure(self) -> Failure | None:
        """Why a leased map has no plan, where its plan raised."""
        return self._map.failure

    @property
    def revision(self) -> int:
        """The revision that reads show."""
        return self._graph.settled

    def get(self, key: Any) -> Any:
        """The value under a key of a leased map: None when absent, a Failure when its query raised."""
        return self._map.shape.get(key)

    def failed(self, key: Any) -> Failure | None:
        """Why a key has no good value, where the query that makes it, or last made it, raised."""
        return self._map.shape.failed(key)

    def keys(self) -> tuple[Any, ...]:
        """The keys of a leased map, sorted."""
        return self._map.order()

    def __len__(self) -> int:
        return len(self._map.shape)

    def __contains__(self, key: object) -> bool:
        return key in self._map.shape

    def since(self, revision: int) -> Delta | None:
        """What changed after `revision`; None when that is too long ago: compare in full.

        A key that came and went since is among the removed, though the reader never knew it.
        """
        node = self._map
        assert node.history is not None
        changed = node.history.since(revision)
        if changed is None:
            return None
        upserts = sorted(key for key in changed if key in node.shape)
        removed = sorted(key for key in changed if key not in node.shape)
        return Delta(tuple(upserts), tuple(removed))

    def notify(self) -> None:
        """Called by the graph after a settle in which the leased node changed."""
        if self.on_change is not None and not self._released:
            self.on_change()

    def release(self) -> None:
        """Give the claim up; the last one lets the node be freed."""
        if self._released:
            return
        self._released = True
        self.on_change = None
        node = self.node
        assert node.holds is not None
        node.holds.remove(self)
        if not node.holds:
            node.holds = None
            if isinstance(node, KeyedMap):
                node.history = None
            if not node.rdeps:
                self._graph.orphans.add(node)

    @property
    def _map(self) -> KeyedMap:
        if not isinstance(self.node, KeyedMap):
            raise GraphError(f"{self.node.describe()} is a query: it has a value, no keys")
        return self.node
