"""The engine: commits mark what may have changed, settling recomputes what did.

    commit   one batch of writes, one revision; walks reverse edges and marks (push dirty)
    settle   brings leased maps and queries up to date, in rank order, in slices (pull validate)
    sweep    frees what nobody reads any more, in slices

Nothing here knows time: a settle with a budget is handed the caller's clock.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import CycleError, QueryFailed
from controlplane.graph.keyed import Keyed, KeyedMap
from controlplane.graph.memo import Memo, Query, evaluate
from controlplane.graph.node import Failure, Node, NotReady, State, show
from controlplane.graph.shape import Shape
from controlplane.graph.table import Bucket, Change, Rows, Table

if TYPE_CHECKING:
    from controlplane.graph.lease import Lease

_MAX_RANK = 256
_REMEMBERED_COMMITS = 4096


class Counters:
    """What the graph has done since it was made; tests and metrics read differences."""

    __slots__ = ("by_query", "equal", "failed", "freed", "runs", "validated")

    def __init__(self) -> None:
        self.runs = 0
        self.equal = 0
        self.validated = 0
        self.failed = 0
        self.freed = 0
        self.by_query: Counter[str] = Counter()

    def run(self, name: str) -> None:
        self.runs += 1
        self.by_query[name] += 1


class Graph:
    """One incremental database.  Not thread-safe: it belongs to one event loop."""

    def __init__(self, *, paranoid: bool = False) -> None:
        self.paranoid = paranoid
        self.revision = 0
        self.settled = 0
        self.tick = 1
        self.counters = Counters()
        self.memos: dict[tuple[Any, Any], Memo] = {}
        self.maps: dict[tuple[Any, Any], KeyedMap] = {}
        self.constants: dict[Any, Bucket] = {}
        self.orphans: set[Node] = set()
        self.changed_roots: dict[Node, None] = {}
        self.stack: list[Node] = []
        self._tables: dict[Table, Rows] = {}
        self._roots: dict[Memo, None] = {}
        self._queue: list[tuple[int, int, KeyedMap]] = []
        self._wanted: set[KeyedMap] = set()
        self._order = itertools.count()
        self._commits: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_COMMITS)
        self._now: Callable[[], float] | None = None
        self._deadline = 0.0

    # Inputs.

    def commit(self, changes: Iterable[Change]) -> int:
        """Apply one batch of (table, key, value or None) and return the new revision.

        A batch whose writes all equal what is there makes no revision: the old one is returned.
        """
        self.revision += 1
        self._commits.append((self.tick + 1, self.revision))
        changed = False
        for table, key, value in changes:
            changed = self.rows(table).put(self, key, value) or changed
        if not changed:
            self._commits.pop()
            self.revision -= 1
        return self.revision

    def rows(self, table: Table) -> Rows:
        """The values of a table."""
        rows = self._tables.get(table)
        if rows is None:
            rows = self._tables[table] = Rows(table)
        return rows

    def tables(self) -> dict[Table, Rows]:
        """All tables that were written or read."""
        return self._tables

    # Nodes.

    def memo(self, query: Query[..., Any], args: tuple[Any, ...]) -> Memo:
        """The memo of a query for these arguments, made when it does not exist."""
        where = (query, args)
        node = self.memos.get(where)
        if node is None:
            node = self.memos[where] = Memo(query, args)
        return node

    def keyed(self, keyed: Keyed[...], args: tuple[Any, ...]) -> KeyedMap:
        """The keyed map for these arguments, made when it does not exist."""
        where = (keyed, args)
        node = self.maps.get(where)
        if node is None:
            node = self.maps[where] = KeyedMap(keyed, args, self.memo(keyed.plan, args), Shape())
            self.orphans.add(node)
        return node

    def fixed(self, keys: tuple[Any, ...]) -> Bucket:
        """The collection of exactly these keys; it never changes."""
        node = self.constants.get(keys)
        if node is None:
            node = self.constants[keys] = Bucket(self.constants, keys, keys, f"fixed {show(keys)}")
            self.orphans.add(node)
        return node

    def size(self) -> int:
        """How many nodes exist."""
        tables = sum(
            len(r.cells) + len(r.buckets) + len(r.selection.select_nodes) + len(r.selection.selecting_nodes)
            for r in self._tables.values()
        )
        facets = sum(len(m.rdeps) for m in self.maps.values())
        return len(self.memos) + len(self.maps) + len(self.constants) + tables + facets

    # Change: push dirty.

    def touch(self, node: Node, key: Any) -> None:
        """An input or a facet changed (at `key`, where it has keys): mark what read it."""
        self.tick += 1
        node.changed = self.tick
        self._mark(node, key)

    def _mark(self, node: Node, key: Any) -> None:
        stack = [node]
        while stack:
            for reader, edge in stack.pop().rdeps.items():
                if reader.__class__ is Memo:
                    if reader.state is State.CLEAN:
                        reader.state = State.DIRTY
                        if reader.holds:
                            self._roots[reader] = None
                        stack.append(reader)
                elif reader.__class__ is KeyedMap:
                    reader.mark(edge, key)
                    self.schedule(reader)

    def schedule(self, node: KeyedMap) -> None:
        """Queue a map for settling."""
        if not node.queued:
            node.queued = True
            heapq.heappush(self._queue, (node.rank, next(self._order), node))

    def raise_rank(self, node: Node, rank: int) -> None:
        """Raise a node's rank and that of everything above it, so that settling stays in order."""
        stack = [(node, rank)]
        while stack:
            current, rank = stack.pop()
            if rank <= current.rank:
                continue
            if rank > _MAX_RANK:
                raise CycleError((*self.path_to(node), node.describe()))
            current.rank = rank
            for reader in current.rdeps:
                stack.append((reader, rank + 1 if reader.__class__ is KeyedMap else rank))

    # Reading: pull validate.

    def evaluate(self, memo: Memo, before: State) -> tuple[Any, dict[Node, None]]:
        """Run a memo's function, recording what it reads."""
        return evaluate(self, memo, before)

    def require(self, node: KeyedMap) -> None:
        """Settle a map that is being read: at once, or, with a budget, by NotReady and later."""
        if node in self.stack:
            raise CycleError(self.path_to(node))
        if self._now is not None:
            raise NotReady(node)
        self.stack.append(node)
        try:
            node.settle(self)
        finally:
            self.stack.pop()

    def out_of_time(self) -> bool:
        """Whether the settle under way has used up its budget."""
        return self._now is not None and self._now() >= self._deadline

    def settle(self, budget: float | None = None, now: Callable[[], float] | None = None) -> bool:
        """Bring all leases up to date; False when `budget` seconds (by `now`) did not suffice.

        Call it again until it returns True; only then do leases show the newest revision.
        """
        if budget is not None and now is not None:
            self._now, self._deadline = now, now() + budget
        try:
            while self._queue or self._roots:
                if self._queue:
                    self._settle_next()
                else:
                    self._refresh_root()
                if self.out_of_time() and (self._queue or self._roots):
                    return False
        finally:
            self._now = None
        self.settled = self.revision
        self._notify()
        return True

    def _settle_next(self) -> None:
        rank, _, node = heapq.heappop(self._queue)
        node.queued = False
        if not (node.rdeps or node.holds or node in self._wanted):
            return  # nobody reads it: it stays unsettled until somebody does, or it is swept
        if node.rank > rank:
            self.schedule(node)
            return
        self.stack.append(node)
        try:
            done = node.settle(self)
        except NotReady as waiting:
            self._wait(node, waiting.node)
            done = False
        finally:
            self.stack.pop()
        if done:
            self._wanted.discard(node)
            if not (node.rdeps or node.holds):
                self.orphans.add(node)
        else:
            self.schedule(node)

    def _refresh_root(self) -> None:
        root = next(iter(self._roots))
        changed = root.changed
        try:
            root.refresh(self)
        except NotReady as waiting:
            self._wait(root, waiting.node)
            return
        del self._roots[root]
        if root.changed != changed:
            self.changed_roots[root] = None

    def _wait(self, reader: Node, node: Node) -> None:
        assert isinstance(node, KeyedMap)
        if isinstance(reader, KeyedMap):
            self.raise_rank(reader, node.rank + 1)
        # The restarted reader has no edge to it yet: without this it would be skipped as unread.
        self._wanted.add(node)
        self.schedule(node)

    def _notify(self) -> None:
        changed, self.changed_roots = self.changed_roots, {}
        for root in changed:
            for lease in tuple(root.holds or ()):
                lease.notify()

    def read(self, query: Query[..., Any], *args: Any) -> Any:
        """A query's value now, without a lease; for tests and debugging pages."""
        self.settle()
        node = self.memo(query, args)
        self.orphans.add(node)
        node.refresh(self)
        if node.value.__class__ is Failure:
            raise QueryFailed(node.value.node, node.value.cause)
        return node.value

    def lease(self, what: Query[..., Any] | Keyed[...], *args: Any) -> Lease:
        """Keep a query or a keyed map alive and up to date until the lease is released."""
        from controlplane.graph.lease import Lease

        if isinstance(what, Keyed):
            owner = self.keyed(what, args)
            if owner.unsettled:
                self.schedule(owner)
            return Lease(self, owner)
        node = self.memo(what, args)
        if node.state is not State.CLEAN:
            self._roots[node] = None
        return Lease(self, node)

    # Letting go.

    def cut(self, node: Node, reader: Node) -> None:
        """Remove an edge; a node without readers is swept later."""
        node.rdeps.pop(reader, None)
        if not node.rdeps and not node.holds:
            self.orphans.add(node)

    def sweep(self, limit: int | None = None) -> bool:
        """Free nodes that nobody reads, at most `limit`; True when none are left."""
        orphans = self.orphans
        orphans -= self._wanted
        while orphans:
            if limit is not None:
                if limit <= 0:
                    return False
                limit -= 1
            node = orphans.pop()
            if node.rdeps or node.holds:
                continue
            node.free(self)
            if node.__class__ is Memo:
                self._roots.pop(node, None)
            self.counters.freed += 1
        return True

    # For explain.

    def revision_of(self, tick: int) -> int:
        """The revision in which a tick fell; 0 when it is older than what is remembered."""
        at = bisect_left(self._commits, (tick + 1,))
        return self._commits[at - 1][1] if at else 0

    def path_to(self, node: Node) -> tuple[str, ...]:
        """What is being computed, down to `node` again."""
        names = [n.describe() for n in self.stack]
        return (*names, node.describe())
