"""The agenda: what has to be settled, in which order, and who may read what meanwhile.

Maps that exist are settled by rank, so that each is settled once per change, after all it reads.
New maps come last: nobody waits for their changes, and what they find is settled.

A query may read anything; where it reads upwards, past the rank of the map it is run for, the order
has to be found anew.  Mostly that map waits for its turn at its new rank.  If by the recorded edges
the two read each other, that is a circle or the past of one that was turned round.  Recorded edges
cannot tell, so all that stands above unsettled maps is doubted and the rest of the turn goes by
pulling: who reads validates first what it reads, down to the inputs, and a circle shows by itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from controlplane.base.errors import CycleError
from controlplane.graph.circles import circular
from controlplane.graph.facets import Facet
from controlplane.graph.map import ANYWHERE, KeyedMap
from controlplane.graph.memo import Memo
from controlplane.graph.node import CLEAN, DIRTY, IDLE, Node, NotReady

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

_LAST: Final = 1 << 40
"""Where new maps stand in the queue: after all ranks."""
_PATIENCE: Final = 3
"""How often a map is put back to a higher rank before it goes by pulling."""
_RESTLESS: Final = 1000
"""How often a map may be settled for one change."""


class Agenda:
    """The queue of one graph's unsettled maps and queries.

    `reach` is the highest rank that may be read without further ado: nothing below it is unsettled,
    and it is below the map that is being settled.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reach = _LAST
        self.limited = False
        self.roots: dict[Memo, None] = {}
        # Leased nodes that have changed since the leases were last told.
        self.changed: dict[Memo | KeyedMap, None] = {}
        # Maps that were settled inside the turn of a node that is not through: nobody reads them yet,
        # and they must not be swept.
        self.wanted: dict[KeyedMap, Node] = {}
        self._queue: list[tuple[int, int, KeyedMap]] = []
        self._order = itertools.count()
        # The maps that are being settled, each inside the one before.
        self._maps: list[KeyedMap] = []
        # How often each map was settled since something new came in.
        self._turns: dict[KeyedMap, int] = {}
        self._pulling = False
        # Only while the work is limited.
        self._now: Callable[[], float] = lambda: 0.0
        self._deadline = 0.0

    def schedule(self, node: KeyedMap) -> None:
        """Queue a map for settling."""
        if node.queued:
            return
        node.queued = True
        rank = node.rank if node.built else _LAST
        heapq.heappush(self._queue, (rank, next(self._order), node))

    # Working it off.

    def work(self, budget: float | None, now: Callable[[], float] | None) -> bool:
        """Settle what is queued; False when `budget` seconds by `now` did not suffice."""
        if budget is not None and now is not None:
            self.limited = True
            self._now, self._deadline = now, now() + budget
        try:
            while self._waits() or (self.graph.circles.try_again() and self._waits()):
                self._pulling = False
                if self._queue:
                    self._settle_next()
                else:
                    self._refresh_root()
                if self.limited and self._waits() and self.out_of_time():
                    return False
        finally:
            self.limited = False
        self._turns.clear()
        return True

    def _waits(self) -> bool:
        return bool(self._queue or self.roots)

    def begin(self) -> None:
        """Something new has come in."""
        self._turns.clear()
        self.graph.circles.hope()

    def out_of_time(self) -> bool:
        """Whether the work under way, which is limited, has used up its budget."""
        return self._now() >= self._deadline

    def _settle_next(self) -> None:
        rank, _, node = heapq.heappop(self._queue)
        node.queued = False
        if not (node.needed() or node in self.wanted):
            self.through(node)
            return  # nobody reads it: it stays unsettled until somebody does, or it is swept
        if self._turns.get(node, 0) >= _RESTLESS:
            self.graph.counters.restless += 1
            self.through(node)
            return  # an endless exchange of results: better unsettled than for ever
        if node.rank > rank:
            self.schedule(node)
            return
        done = False
        try:
            done = self._enter(node)
        except NotReady:
            pass  # it will be its turn again
        finally:
            if not done:
                self.schedule(node)
        if done:
            self._turns[node] = self._turns.get(node, 0) + 1
            node.waited = 0
            self.through(node)

    def _refresh_root(self) -> None:
        root, _ = self.roots.popitem()
        if root.holds is None:
            self.through(root)
            return
        done = False
        try:
            root.refresh(self.graph)
            done = True
        except NotReady:
            pass  # it will be its turn again
        finally:
            if not done:
                self.roots[root] = None
        if done:
            self.through(root)

    def through(self, node: Memo | KeyedMap) -> None:
        """A node's turn is over for good: what was settled for it has found its readers, or has none."""
        for map in [map for map, reader in self.wanted.items() if reader is node]:
            del self.wanted[map]
            if not map.needed():
                self.graph.orphans.add(map)

    def _enter(self, node: KeyedMap) -> bool:
        stack = self.graph.stack
        self._maps.append(node)
        stack.append(node)
        self._measure()
        try:
            return node.settle(self.graph)
        finally:
            node.phase = IDLE
            stack.pop()
            self._maps.pop()
            self._measure()

    def _measure(self) -> None:
        reach = _LAST
        if not self._pulling:
            if self._queue:
                reach = self._queue[0][0]
            if self._maps:
                reach = min(reach, self._maps[-1].rank - 1)
        self.reach = reach

    # Reading while it is under way.

    def arrive(self, node: Node) -> None:
        """Bring a node that is about to be read up to date; raises CycleError, NotReady."""
        if node.busy:
            owner = node.owner if isinstance(node, Facet) else node
            raise CycleError(self.graph.path_to(owner))
        if node.rank > self.reach:
            self._order_before(node)
        node.refresh(self.graph)

    def require(self, node: KeyedMap) -> None:
        """Settle a map inside the query that reads it."""
        if node.phase != IDLE:
            raise CycleError(self.graph.path_to(node))
        self.wanted.setdefault(node, self.graph.stack[0])
        done = False
        try:
            done = self._enter(node)
        finally:
            if not done:
                self.schedule(node)
        if not done:
            raise NotReady(node)

    def _order_before(self, node: Node) -> None:
        """See that `node`, above the reach, is final before it is read."""
        rank = node.rank
        for map in reversed(self._maps):
            if map.rank <= rank:
                self.raise_rank(map, rank + 1)
            rank = map.rank
        waited = self._maps[0].waited if self._maps else 0
        # Raising one has raised the other; or several wait for each other, of which no edge tells yet.
        if waited >= _PATIENCE or any(map.rank <= node.rank for map in self._maps):
            self._doubt()
            return
        self._measure()
        if self._queue and self._queue[0][0] < node.rank:
            if self._maps:
                self._maps[0].waited += 1
            self.graph.counters.put_back += 1
            raise NotReady(node)

    def _doubt(self) -> None:
        """Mark all that stands above unsettled maps as perhaps out of date, and go by pulling."""
        self.graph.counters.doubted += 1
        self._pulling = True
        self.reach = _LAST
        stack: list[Node] = [*self._maps, *(node for _, _, node in self._queue if node.built)]
        seen = set(stack)
        while stack:
            node = stack.pop()
            for reader in node.each_reader():
                if isinstance(reader, Memo):
                    if reader.state == CLEAN:
                        reader.state = DIRTY
                        if reader.holds is not None:
                            self.roots[reader] = None
                elif isinstance(reader, KeyedMap):
                    reader.mark(node, ANYWHERE)
                    self.schedule(reader)
                if reader not in seen:
                    seen.add(reader)
                    stack.append(reader)

    def raise_rank(self, node: Node, rank: int) -> None:
        """Raise a node's rank and that of everything above it, so that settling stays in order.

        Readers that have failed because of a circle are passed over: a circle has no order.
        """
        # Without a circle nothing can rise further than this; with an unnoticed one this ends it.
        highest = rank + len(self.graph.maps) + 1
        node.rank = rank
        stack = [node]
        while stack:
            current = stack.pop()
            for reader in current.each_reader():
                rank = current.rank + 1 if reader.__class__ is KeyedMap else current.rank
                if reader.rank < rank <= highest and reader is not node and not circular(reader):
                    reader.rank = rank
                    stack.append(reader)
