"""The engine: one graph over its inputs, and the way in for everybody else.

    commit   one batch of writes, one revision; walks reverse edges and marks (push dirty)
    settle   brings leased maps and queries up to date, in slices (pull validate)
    sweep    frees what nobody reads any more, in slices

Nothing here knows time: a settle with a budget is handed the caller's clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError
from controlplane.graph.agenda import Agenda
from controlplane.graph.bucket import Bucket, Fixed
from controlplane.graph.circles import Circles
from controlplane.graph.keyed import Keyed
from controlplane.graph.map import KeyedMap
from controlplane.graph.memo import Families, Memo, Query
from controlplane.graph.node import CLEAN, DIRTY, FREED, Node
from controlplane.graph.q import Q
from controlplane.graph.table import Change, Rows, Table, Tables

if TYPE_CHECKING:
    from controlplane.graph.lease import Lease

_REMEMBERED_COMMITS = 4096


class Counters:
    """What the graph has done since it was made; tests and metrics read differences.

    `equal`: runs whose result was the old one; `validated`: marked nodes that need not run; `put_back`,
    `doubted`: how often a turn was out of order, and how often it went by pulling; `restless`: how often
    a map was left unsettled because there was no end to it.
    """

    __slots__ = (
        "_families", "doubted", "equal", "failed", "freed", "put_back", "restless", "validated",
    )  # fmt: skip

    def __init__(self, families: Families) -> None:
        self._families = families
        self.equal = 0
        self.validated = 0
        self.failed = 0
        self.freed = 0
        self.put_back = 0
        self.doubted = 0
        self.restless = 0

    @property
    def runs(self) -> int:
        """How often any query ran to its end."""
        return sum(family.runs for family in self._families.values())

    @property
    def by_query(self) -> Counter[str]:
        """The same by the query's name."""
        found: Counter[str] = Counter()
        for query, family in self._families.items():
            found[query.name] += family.runs
        return found


class Graph:
    """One incremental database.  Not thread-safe: it belongs to one event loop."""

    def __init__(self, *, paranoid: bool = False) -> None:
        self.paranoid = paranoid
        self.revision = 0
        self.settled = 0
        self.tick = 1
        self.families = Families()
        self.counters = Counters(self.families)
        self.maps: dict[tuple[Any, Any], KeyedMap] = {}
        self.constants: dict[Any, Bucket] = {}
        self.orphans: set[Node] = set()
        # What is being computed, outermost first.
        self.stack: list[Node] = []
        self._tables = Tables()
        self._commits: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_COMMITS)
        self._new_leases: list[Lease] = []
        self.circles = Circles(self)
        self.agenda = Agenda(self)
        self.q = Q(self)

    # Inputs.

    def commit(self, changes: Iterable[Change]) -> int:
        """Apply one batch of (table, key, value or None) and return the new revision.

        A batch whose writes all equal what is there makes no revision: the old one is returned.  A
        batch with a row that its table cannot index raises, and nothing of it is applied.
        """
        self._only_between_queries("commit")
        batch = [(self._tables[table], key, value) for table, key, value in changes]
        prepared = [rows.prepare(key, value) for rows, key, value in batch]
        self.tick += 1
        changed = False
        for (rows, key, value), traits in zip(batch, prepared, strict=True):
            changed = rows.put(self, key, value, traits) or changed
        if changed:
            self.revision += 1
            self._commits.append((self.tick, self.revision))
            self.agenda.begin()
        return self.revision

    def rows(self, table: Table) -> Rows:
        """The values of a table."""
        return self._tables[table]

    def tables(self) -> Tables:
        """All tables that were written or read."""
        return self._tables

    # Nodes.

    def memo(self, query: Query[..., Any], args: tuple[Any, ...]) -> Memo:
        """The memo of a query for these arguments, made when it does not exist."""
        return self.families[query].memo(args)

    def keyed(self, keyed: Keyed[...], args: tuple[Any, ...]) -> KeyedMap:
        """The keyed map for these arguments, made when it does not exist."""
        where = (keyed, args)
        node = self.maps.get(where)
        if node is None:
            node = self.maps[where] = KeyedMap(keyed, args, self.memo(keyed.plan, args))
            self.orphans.add(node)
        return node

    def fixed(self, keys: tuple[Any, ...]) -> Bucket:
        """The collection of exactly these keys; it never changes."""
        node = self.constants.get(keys)
        if node is None:
            node = self.constants[keys] = Fixed(self.constants, keys, keys)
            self.orphans.add(node)
        return node

    def size(self) -> int:
        """How many nodes exist."""
        memos = sum(len(family.memos) for family in self.families.values())
        facets = sum(sum(1 for _ in map.each_reader()) for map in self.maps.values())
        tables = sum(rows.nodes() for rows in self._tables.values())
        return memos + len(self.maps) + facets + len(self.constants) + tables

    # Change: push dirty.

    def touch(self, node: Node, key: Any) -> None:
        """An input or a facet changed (at `key`, where it has keys): mark what read it.

        The caller has begun a new tick: one for all that changes together.
        """
        node.changed = self.tick
        self.mark_readers(node, key)

    def mark_readers(self, node: Node, key: Any) -> None:
        """Mark what read a node, up to the maps that have to be settled for it."""
        if node.readers is None:
            return
        agenda = self.agenda
        stack = [node]
        while stack:
            node = stack.pop()
            readers = node.readers
            for reader in readers if isinstance(readers, dict) else (readers,):
                if reader.__class__ is Memo:
                    if reader.state == CLEAN:
                        reader.state = DIRTY
                        if reader.holds is not None:
                            agenda.roots[reader] = None
                        if reader.readers is not None:
                            stack.append(reader)
                elif reader.__class__ is KeyedMap:
                    reader.mark(node, key)
                    if not reader.queued:
                        agenda.schedule(reader)

    # Reading: pull validate.

    def settle(self, budget: float | None = None, now: Callable[[], float] | None = None) -> bool:
        """Bring all leases up to date; False when `budget` seconds (by `now`) did not suffice.

        Call it again until it returns True; only then do leases show the newest revision.
        """
        self._only_between_queries("settle")
        if not self.agenda.work(budget, now):
            return False
        self.settled = self.revision
        self._notify()
        return True

    def _notify(self) -> None:
        """Call back the leases that have changed, or can be read for the first time.

        The callbacks may do anything: commit, take and release leases, even settle.
        """
        told: dict[Lease, None] = dict.fromkeys(self._new_leases)
        self._new_leases = []
        changed, self.agenda.changed = self.agenda.changed, {}
        for node in changed:
            told.update(dict.fromkeys(node.holds or ()))
        errors: list[Exception] = []
        for lease in told:
            try:
                lease.notify()
            except Exception as error:  # noqa: BLE001 - raised below, when all have been told
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("callbacks of leases failed", errors)

    def read(self, query: Query[..., Any], *args: Any) -> Any:
        """A query's value now, without a lease; for tests and debugging pages."""
        self.settle()
        node = self.memo(query, args)
        self.orphans.add(node)
        try:
            node.refresh(self)
        finally:
            self.agenda.through(node)
        failure = node.failure
        if failure is not None:
            raise failure.error()
        return node.value

    def lease(self, what: Query[..., Any] | Keyed[...], *args: Any) -> Lease:
        """Keep a query or a keyed map alive and up to date until the lease is released."""
        from controlplane.graph.lease import Lease

        self._only_between_queries("lease")
        self.agenda.begin()
        node: KeyedMap | Memo
        if isinstance(what, Keyed):
            node = self.keyed(what, args)
            lease = Lease(self, node)
            if node.dirty:
                self.agenda.schedule(node)
        else:
            node = self.memo(what, args)
            lease = Lease(self, node)
            if node.state != CLEAN:
                self.agenda.roots[node] = None
        if not lease.ready:
            self._new_leases.append(lease)
        return lease

    def _only_between_queries(self, what: str) -> None:
        if self.stack:
            raise GraphError(f"{what}() inside {self.stack[-1].describe()}: a query may only read")

    # Letting go.

    def cut(self, node: Node, reader: Node) -> None:
        """Remove an edge; a node without readers is swept later."""
        node.drop_reader(reader)
        if not node.needed():
            self.orphans.add(node)

    def sweep(self, limit: int | None = None) -> bool:
        """Free nodes that nobody reads, at most `limit`; True when none are left."""
        self._only_between_queries("sweep")
        orphans, wanted = self.orphans, self.agenda.wanted
        while orphans or self.circles.loosen():
            if limit is not None:
                if limit <= 0:
                    return False
                limit -= 1
            node = orphans.pop()
            if node.rank == FREED or node.needed() or node in wanted:
                continue
            node.rank = FREED
            node.free(self)
            self.circles.loose = True
            self.counters.freed += 1
        return True

    # For explain.

    def revision_of(self, tick: int) -> int:
        """The revision in which a tick fell; 0 when it is older than what is remembered."""
        at = bisect_left(self._commits, (tick + 1,))
        return self._commits[at - 1][1] if at else 0

    def path_to(self, node: Node) -> tuple[str, ...]:
        """The circle that reading `node` closes, from its smallest name: whoever found it, it is the same."""
        names = [below.describe() for below in self.stack[self.stack.index(node) :]]
        first = names.index(min(names))
        names = names[first:] + names[:first]
        return (*names, names[0])
