"""Leases: the roots of the graph.  What is leased is kept, kept up to date, and reports its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError
from controlplane.graph.failure import Failure
from controlplane.graph.history import History
from controlplane.graph.map import KeyedMap
from controlplane.graph.memo import Memo
from controlplane.graph.node import CLEAN

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph


@dataclass(frozen=True, slots=True)
class Delta:
    """The keys of a map that changed or appeared, and those that went; both sorted."""

    upserts: tuple[Any, ...]
    removed: tuple[Any, ...]


class Lease:
    """One holder's claim on a query or a keyed map.

    Reads show the newest settled state: they are meaningful once `graph.settle()` has returned True
    after the lease was taken, and raise GraphError where nothing was ever computed or the lease was
    given back.  `on_change` is called after the settle that makes it readable, and after each one
    that changes what it shows.
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
        """Whether the leased node has been computed, and nothing of it waits for a settle."""
        node = self.node
        return not node.dirty if isinstance(node, KeyedMap) else node.state == CLEAN

    @property
    def value(self) -> Any:
        """The value of a leased query; raises QueryFailed where the query raised."""
        node = self.node
        if isinstance(node, KeyedMap):
            raise GraphError(f"{node.describe()} is a keyed map: read it by key")
        if not node.verified or self._released:
            raise GraphError(f"{node.describe()} cannot be read: {self._why_not()}")
        if node.value.__class__ is Failure:
            raise node.value.error()
        return node.value

    @property
    def failure(self) -> Failure | None:
        """Why a leased map has nothing, where its plan or a source of it raised; why a query has no value."""
        return self.node.failure

    @property
    def revision(self) -> int:
        """The revision that reads show."""
        return self._graph.settled

    def get(self, key: Any) -> Any:
        """The value under a key of a leased map: None when absent, a Failure when its query raised."""
        return self._map().shape.out.get(key)

    def failed(self, key: Any) -> Failure | None:
        """Why a key has no good value, where the query that makes it, or last made it, raised."""
        return self._map().shape.failed(key)

    def keys(self) -> tuple[Any, ...]:
        """The keys of a leased map, sorted."""
        node = self._map()
        return node.order.keys(node.shape.out)

    def __len__(self) -> int:
        return len(self._map().shape.out)

    def __bool__(self) -> bool:
        return True  # a lease is not false for holding an empty map

    def __contains__(self, key: object) -> bool:
        return key in self._map().shape.out

    def since(self, revision: int) -> Delta | None:
        """What changed after `revision`; None when that is too long ago: compare in full.

        A key that came and went since is among the removed, though the reader never knew it.
        """
        node = self._map()
        assert node.history is not None
        changed = node.history.since(revision)
        if changed is None:
            return None
        out = node.shape.out
        upserts = sorted(key for key in changed if key in out)
        removed = sorted(key for key in changed if key not in out)
        return Delta(tuple(upserts), tuple(removed))

    def notify(self) -> None:
        """Called by the graph after a settle in which the leased node changed or became readable."""
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
            self._graph.circles.loose = True
            if not node.needed():
                self._graph.orphans.add(node)

    def _map(self) -> KeyedMap:
        node = self.node
        if not isinstance(node, KeyedMap):
            raise GraphError(f"{node.describe()} is a query: it has a value, no keys")
        if not node.built or self._released:
            raise GraphError(f"{node.describe()} cannot be read: {self._why_not()}")
        return node

    def _why_not(self) -> str:
        return "the lease was released" if self._released else "it has not been settled since it was leased"
