"""Feeds over the graph's keyed maps.

A leased map is a `Part`: a feed of its own.  What a proxy reads of one type is the union of some
parts: clusters of the whole mesh, those that are particular to its namespace, those of its own ports.
Parts are shared by all unions that they are in, so that what happened to the mesh's clusters
is taken in once, and not once for each proxy that has a port of its own beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from itertools import chain
from typing import Any, TypeAlias

from controlplane.envoy.maps import Map, Maps
from controlplane.envoy.on_demand import Ask, asked
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import BY_URL
from controlplane.graph import Delta, Failure, Keyed, Lease
from controlplane.graph.table import Change
from controlplane.xds.asking import OnDemand
from controlplane.xds.feed import UNSETTLED, Union
from controlplane.xds.names import intern_names
from controlplane.xds.settle import Settler

Where: TypeAlias = tuple[str, Maps, object]
"""A type, the maps that make its feed, and whose the feed is; None where all who read the maps share it."""

_NOTHING_NEW = Delta((), ())


class Part:
    """One leased map as a feed; `users` are the unions that it is in."""

    __slots__ = ("_at", "_ready", "_settler", "lease", "users")

    def __init__(self, settler: Settler, keyed: Keyed[...], args: tuple[Any, ...]) -> None:
        self.users: dict[MapFeed, None] = {}
        self._settler = settler
        # The revision of the last change: a feed that did not change costs its readers a comparison.
        self._at = UNSETTLED
        self._ready = False
        self.lease = settler.graph.lease(keyed, *args)
        self.lease.on_change = self._changed

    @property
    def ready(self) -> bool:
        """Whether the map has been computed; once it has, only a commit can put it behind again."""
        if not self._ready and self.lease.ready:
            self._ready = True
            self._at = self._settler.graph.settled
        return self._ready

    @property
    def revision(self) -> int:
        return self._at if self.ready else UNSETTLED

    def since(self, revision: int) -> Delta | None:
        if self.lease.failure is not None:
            return _NOTHING_NEW  # a map that cannot be planned shows what it last did
        return self.lease.since(revision)

    def get(self, name: str) -> Resource | Failure | None:
        value: Resource | Failure | None = self.lease.get(name)
        return self.lease.failed(name) if value is None else value

    def names(self) -> tuple[str, ...]:
        return self.lease.keys()

    def _changed(self) -> None:
        self._at = self._settler.graph.settled
        for feed in self.users:
            feed.part_changed(self._at)


class MapFeed(Union):
    """The union of parts for one `where`; see `controlplane.xds.feed.Feed`.

    `changed` is called after every settle in which a part changed.
    """

    __slots__ = ("_at", "_changed", "_parts", "_ready", "_settler", "readers", "where")

    def __init__(
        self, settler: Settler, where: Where, parts: tuple[Part, ...], changed: Callable[[MapFeed], None]
    ) -> None:
        self.where = where
        self.readers: dict[Any, None] = {}
        self._settler = settler
        self._changed = changed
        self._parts = parts
        self._at = UNSETTLED
        self._ready = False

    @property
    def parts(self) -> tuple[Part, ...]:
        return self._parts

    @property
    def revision(self) -> int:
        return self._at if self._ready or self._is_ready() else UNSETTLED

    def _is_ready(self) -> bool:
        self._ready = all(part.ready for part in self._parts)
        if self._ready:
            self._at = self._settler.graph.settled
        return self._ready

    def part_changed(self, revision: int) -> None:
        """Called by a part."""
        self._at = revision
        self._changed(self)

    def since(self, revision: int) -> Delta | None:
        upserts: list[str] = []
        removed: list[str] = []
        for part in self._parts:
            delta = part.since(revision)
            if delta is None:
                return None
            upserts += delta.upserts
            removed += delta.removed
        # A name may move between the maps of a feed in one revision: gone here, new there.
        gone = [name for name in removed if not any(name in part.lease for part in self._parts)]
        return Delta(tuple(upserts), tuple(gone))

    def get(self, name: str) -> Resource | Failure | None:
        failure: Failure | None = None
        for part in self._parts:
            found = part.get(name)
            if isinstance(found, Failure):
                failure = failure or found
            elif found is not None:
                return found
        return failure

    def names(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(part.names() for part in self._parts))

    def leases(self) -> tuple[Lease, ...]:
        """The leased maps, for explaining and debugging."""
        return tuple(part.lease for part in self._parts)


class AskedPart(Part):
    """A map that is made of what clients ask for: their asking is an input of the graph."""

    __slots__ = ("_counts", "_scope", "_told")

    def __init__(self, settler: Settler, keyed: Keyed[...], args: tuple[Any, ...]) -> None:
        super().__init__(settler, keyed, args)
        (self._scope,) = args
        self._counts: Counter[str] = Counter()
        # From which revision to which, and what changed between them; None when that is not known any more.
        self._told: tuple[int, int, frozenset[str] | None] = (UNSETTLED, UNSETTLED, None)

    def ask(self, more: Collection[str], fewer: Collection[str]) -> None:
        """See `controlplane.xds.asking`."""
        counts = self._counts
        new = [name for name in more if name not in counts]
        counts.update(more)
        counts.subtract(fewer)
        gone = [name for name in fewer if not counts[name]]
        for name in gone:
            del counts[name]
        rows: list[Change] = [(asked, Ask(self._scope, name), True) for name in new]
        rows += [(asked, Ask(self._scope, name), None) for name in gone]
        if rows:
            self._settler.commit(rows)

    def changed_since(self, revision: int) -> frozenset[str] | None:
        """The names that changed; all clients ask in turn, and nearly all of them the same."""
        if self._told[:2] != (revision, self._at):
            delta = self.since(revision)
            names = None if delta is None else frozenset((*delta.upserts, *delta.removed))
            self._told = (revision, self._at, names)
        return self._told[2]


class AskedFeed(MapFeed, OnDemand):
    """What one client is to know of such a map: it hears of what it asked for, and of nothing else."""

    __slots__ = ("_asked", "_part")

    def __init__(
        self, settler: Settler, where: Where, parts: tuple[Part, ...], changed: Callable[[MapFeed], None]
    ) -> None:
        super().__init__(settler, where, parts, changed)
        (part,) = parts
        assert isinstance(part, AskedPart)
        self._part = part
        self._asked: frozenset[str] = frozenset()

    def ask(self, more: Collection[str], fewer: Collection[str]) -> None:
        self._asked = intern_names(self._asked.union(more).difference(fewer))
        self._part.ask(more, fewer)

    def part_changed(self, revision: int) -> None:
        names = None if self._at == UNSETTLED else self._part.changed_since(self._at)
        if names is None or not names.isdisjoint(self._asked):
            super().part_changed(revision)
        else:
            self._at = revision


class Parts:
    """The parts in use, one per map."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler
        self._open: dict[Map, Part] = {}

    def feed(self, where: Where, changed: Callable[[MapFeed], None]) -> MapFeed:
        """A new union; give it back with `release`."""
        single = BY_URL[where[0]].on_demand
        parts = tuple(self._part(which, AskedPart if single else Part) for which in where[1])
        feed = (AskedFeed if single else MapFeed)(self._settler, where, parts, changed)
        for part in feed.parts:
            part.users[feed] = None
        return feed

    def release(self, feed: MapFeed) -> None:
        """The union is not read any more: let go of the parts that nobody else uses."""
        for part, which in zip(feed.parts, feed.where[1], strict=True):
            part.users.pop(feed, None)
            if not part.users and self._open.get(which) is part:
                del self._open[which]
                part.lease.release()

    def _part(self, which: Map, made: type[Part]) -> Part:
        part = self._open.get(which)
        if part is None:
            part = self._open[which] = made(self._settler, *which)
        return part

    def __len__(self) -> int:
        return len(self._open)
