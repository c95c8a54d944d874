"""The ledger of a union: the ledgers of its parts, looked at as one.

A thousand proxies see the clusters of the whole mesh and one cluster of their own.  A ledger for each
of them would copy the mesh a thousand times, and take in every change a thousand times.  Here the
parts' ledgers, which are shared, do that; a union has a moment of its own (one checkpoint
of each part), and nothing else.

Most changes concern one part.  Then the response is planned from that part alone, and so is the same
for everybody who reads it, whatever else they read.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from controlplane.envoy.resource import Resource
from controlplane.xds.feed import UNSETTLED, Feed, Union
from controlplane.xds.ledger import Checkpoint, Ledger, Past, StandIn


class Joint(Checkpoint):
    """A moment of a union; `parts` are the same moment of its parts."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Checkpoint, ...]) -> None:
        super().__init__()
        self.parts = parts


class Layers(Past):
    """What a `Ledger` is, for a union of feeds."""

    __slots__ = ("feed", "head", "layers", "plans", "revision", "seen", "users")

    def __init__(self, feed: Union, layers: tuple[Ledger, ...]) -> None:
        self.feed = feed
        self.layers = layers
        self.revision = UNSETTLED
        self.seen = UNSETTLED
        self.users = 0
        self.plans: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """Plans made for the present head."""
        self.head = self._joint()
        """Now."""
        for ledger in layers:
            ledger.above[self] = None

    def close(self) -> None:
        """Nobody reads it any more."""
        for ledger in self.layers:
            del ledger.above[self]

    # -- now ------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Catch up with the parts; False when one has not been computed yet.  See `Ledger.refresh`."""
        revision = self.feed.revision
        if revision == self.revision:
            return revision != UNSETTLED
        if revision == UNSETTLED:
            return False
        for ledger in self.layers:
            ledger.refresh()
        self.revision = revision
        return True

    def reconsider(self, names: Iterable[str]) -> None:
        """Ask again what stands in for these resources; what differs counts as changed now."""
        names = tuple(names)
        for ledger in self.layers:
            ledger.reconsider(names)

    def moved(self) -> None:
        """A part's head is another one."""
        self.head = self._joint()
        if self.plans:
            self.plans.clear()

    def _joint(self) -> Joint:
        return Joint(tuple([ledger.head for ledger in self.layers]))

    def get(self, name: str) -> Resource | None:
        for ledger in self.layers:
            found = ledger.get(name)
            if found is not None:
                return found
        return None

    @property
    def resources(self) -> Mapping[str, Resource]:
        return {name: one for ledger in reversed(self.layers) for name, one in ledger.resources.items()}

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self.resources))

    # -- the past -------------------------------------------------------------------------------

    def hold(self, point: Checkpoint) -> Checkpoint:
        if isinstance(point, Joint) and not point.readers:
            for ledger, part in zip(self.layers, point.parts, strict=True):
                ledger.hold(part)
        point.readers += 1
        return point

    def release(self, point: Checkpoint) -> None:
        point.readers -= 1
        if point.readers:
            return
        point.memo = None
        if isinstance(point, Joint):
            for ledger, part in zip(self.layers, point.parts, strict=True):
                ledger.release(part)
        elif point.later is not None:
            self.release(point.later)

    def _former(self, point: Checkpoint) -> dict[str, Resource | None]:
        if not isinstance(point, Joint):
            later = {} if point.later is None else self._former(point.later)
            return {**later, **point.before}
        olds = [
            {change.name: change.old for change in ledger.changes(part)}
            for ledger, part in zip(self.layers, point.parts, strict=True)
        ]
        # A name may move from one part to another.  The part that it comes to may have been brought up
        # to date for others while the part that it leaves still has it: what did not change counts too.
        return {name: self._first(name, olds) for old in olds for name in old}

    def _first(self, name: str, olds: list[dict[str, Resource | None]]) -> Resource | None:
        """What the first part that had a resource had."""
        for ledger, old in zip(self.layers, olds, strict=True):
            found = old[name] if name in old else ledger.get(name)
            if found is not None:
                return found
        return None

    @property
    def depth(self) -> int:
        """How many moments of the parts' past are kept."""
        return sum(ledger.depth for ledger in self.layers)

    # -- one part -------------------------------------------------------------------------------

    def only(self, since: Joint, names: frozenset[str]) -> tuple[Ledger, Checkpoint] | None:
        """The one part that changed since then or has any of these names; None when there are more."""
        found = None
        for ledger, point in zip(self.layers, since.parts, strict=True):
            if ledger.head is point and names.isdisjoint(ledger.resources):
                continue
            if found is not None:
                return None
            found = (ledger, point)
        return found or (self.layers[0], since.parts[0])


AnyLedger: TypeAlias = Ledger | Layers


class Ledgers:
    """The ledgers in use: one per feed, for as long as a stream or a union reads it."""

    def __init__(self, stand_in: StandIn | None = None) -> None:
        self._stand_in = stand_in
        self._open: dict[int, AnyLedger] = {}

    def open(self, feed: Feed) -> AnyLedger:
        """The ledger of a feed; give it back with `close`."""
        # By identity: a feed need not be hashable, and the ledger keeps it alive.
        ledger = self._open.get(id(feed))
        if ledger is None:
            if isinstance(feed, Union) and len(feed.parts) == 1:
                # A union of one is that one.
                return self.open(feed.parts[0])
            if isinstance(feed, Union):
                ledger = Layers(feed, tuple(self._part(part) for part in feed.parts))
            else:
                ledger = Ledger(feed, self._stand_in)
            self._open[id(feed)] = ledger
        ledger.users += 1
        return ledger

    def _part(self, feed: Feed) -> Ledger:
        ledger = self.open(feed)
        assert isinstance(ledger, Ledger), "a union of unions"
        return ledger

    def close(self, ledger: AnyLedger) -> None:
        ledger.users -= 1
        if ledger.users:
            return
        del self._open[id(ledger.feed)]
        if isinstance(ledger, Layers):
            ledger.close()
            for part in ledger.layers:
                self.close(part)

    def __len__(self) -> int:
        return len(self._open)

    def all(self) -> Collection[AnyLedger]:
        return self._open.values()
