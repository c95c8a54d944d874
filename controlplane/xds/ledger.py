"""A feed's recent past, kept once for all streams that read it.

A stream must know which resources changed since it last sent something, and what they were before
(that is what a proxy goes back to when it rejects a change).  Keeping a version per resource per
stream would cost a thousand dictionaries of a thousand entries.  Instead a stream holds one
`Checkpoint`, and the ledger remembers, from checkpoint to checkpoint, the former values of what
changed.  A checkpoint that nobody holds is merged into the one before it, so the past that is kept
is exactly the past that somebody still needs: usually none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias
from weakref import WeakValueDictionary

from controlplane.envoy.resource import Resource
from controlplane.graph import Failure
from controlplane.xds.feed import UNSETTLED, Feed

StandIn: TypeAlias = Callable[[Resource], Resource | None]
"""What all streams are served in place of a resource: itself, other bytes of its name, or nothing."""


class Change(NamedTuple):
    """What became of a name between a checkpoint and now; None is absence."""

    name: str
    old: Resource | None
    new: Resource | None


class Checkpoint:
    """A moment in a ledger's past; `before` holds what the names were that changed right after it."""

    __slots__ = ("before", "later", "memo", "private", "readers")

    def __init__(self, private: bool = False) -> None:
        self.before: dict[str, Resource | None] = {}
        self.later: Checkpoint | None = None
        self.readers = 0
        self.private = private
        # The changes since this moment, and the head up to which they were collected.
        self.memo: tuple[Checkpoint, tuple[Change, ...]] | None = None


class Above(Protocol):
    """What is made of ledgers: see `controlplane.xds.layers`."""

    def moved(self) -> None:
        """The head of one of them is another one."""
        ...


class Past(ABC):
    """How the past is told: the same for one feed and for a union of feeds."""

    __slots__ = ()

    head: Checkpoint
    """Now."""

    @abstractmethod
    def get(self, name: str) -> Resource | None:
        """The resource as it is now."""

    @property
    @abstractmethod
    def resources(self) -> Mapping[str, Resource]:
        """All of them, as they are now."""

    @abstractmethod
    def hold(self, point: Checkpoint) -> Checkpoint:
        """Keep a checkpoint for one more reader."""

    @abstractmethod
    def _former(self, point: Checkpoint) -> dict[str, Resource | None]:
        """What may differ now, as it was at a checkpoint."""

    def diverge(self, before: dict[str, Resource | None]) -> Checkpoint:
        """A checkpoint of a client that differs from now in these names; held for the caller."""
        point = Checkpoint(private=True)
        point.before = before
        point.later = self.hold(self.head)
        return self.hold(point)

    def changes(self, point: Checkpoint) -> tuple[Change, ...]:
        """What differs between a checkpoint and now, by name; collected once for all its readers."""
        if point.memo is not None and point.memo[0] is self.head:
            return point.memo[1]
        former = self._former(point)
        changes = tuple(
            Change(name, former[name], new)
            for name in sorted(former)
            if (new := self.get(name)) != former[name]
        )
        point.memo = (self.head, changes)
        return changes

    def at(self, point: Checkpoint) -> dict[str, Resource]:
        """All resources as they were at a checkpoint."""
        found: dict[str, Resource | None] = {**self.resources, **self._former(point)}
        return {name: resource for name, resource in found.items() if resource is not None}


class Ledger(Past):
    """The resources of a feed as of the last `refresh`, with their past.

    `head` is now.  A reader takes a checkpoint with `hold` and gives it back with `release`.
    """

    __slots__ = (
        "_order",
        "_points",
        "_resources",
        "_stand_in",
        "above",
        "feed",
        "head",
        "plans",
        "revision",
        "seen",
        "users",
    )

    def __init__(self, feed: Feed, stand_in: StandIn | None = None) -> None:
        self.feed = feed
        self.revision = UNSETTLED
        self.seen = UNSETTLED
        """The settled revision of all feeds at which somebody refreshed it last."""
        self.users = 0
        self.above: dict[Above, None] = {}
        """The unions that this is a part of."""
        self.head = Checkpoint()
        self.plans: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """Plans made for the present head (see `plan.plan`)."""
        self._stand_in = stand_in
        self._resources: dict[str, Resource] = {}
        self._order: tuple[str, ...] | None = None
        # Oldest first; the last is the head.  Private checkpoints are not among them.
        self._points = [self.head]

    # -- now ------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Catch up with the feed; False when it has not been computed yet.

        To be called only while the feeds are settled.  Costs a comparison of integers when there is
        nothing new.
        """
        revision = self.feed.revision
        if revision == self.revision:
            return revision != UNSETTLED
        if revision == UNSETTLED:
            return False
        delta = None if self.revision == UNSETTLED else self.feed.since(self.revision)
        if delta is None:
            self._record({*self.feed.names(), *self._resources})
        else:
            self._record((*delta.upserts, *delta.removed))
        self.revision = revision
        return True

    def reconsider(self, names: Iterable[str]) -> None:
        """Ask again what stands in for these resources; what differs counts as changed now."""
        self._record(names)

    def get(self, name: str) -> Resource | None:
        return self._resources.get(name)

    @property
    def resources(self) -> Mapping[str, Resource]:
        return self._resources

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        if self._order is None:
            self._order = tuple(sorted(self._resources))
        return self._order

    def _record(self, names: Iterable[str]) -> None:
        before: dict[str, Resource | None] = {}
        for name in names:
            old = self._resources.get(name)
            new = self._read(name, old)
            if new is old or new == old:
                continue
            before[name] = old
            if (new is None) != (old is None):
                self._order = None
            if new is None:
                del self._resources[name]
            else:
                self._resources[name] = new
        if before:
            self._advance(before)

    def _read(self, name: str, old: Resource | None) -> Resource | None:
        found = self.feed.get(name)
        if found.__class__ is Failure:
            # A query of ours raised: the fault is reported by the graph, the proxies keep what works.
            return old
        assert not isinstance(found, Failure)
        if found is None or self._stand_in is None:
            return found
        return self._stand_in(found)

    # -- the past -------------------------------------------------------------------------------

    def _advance(self, before: dict[str, Resource | None]) -> None:
        past, self.head = self.head, Checkpoint()
        past.before = before
        past.later = self.head
        self._points.append(self.head)
        self.plans.clear()
        if not past.readers:
            self._merge(past)
        for union in self.above:
            union.moved()

    def _merge(self, point: Checkpoint) -> None:
        """Forget a checkpoint: its past becomes that of the one before it, or nobody's."""
        index = self._points.index(point)
        if index:
            earlier = self._points[index - 1]
            for name, old in point.before.items():
                earlier.before.setdefault(name, old)
            earlier.later = point.later
        del self._points[index]

    def hold(self, point: Checkpoint) -> Checkpoint:
        point.readers += 1
        return point

    def release(self, point: Checkpoint) -> None:
        point.readers -= 1
        if point.readers:
            return
        # It may hold itself: what was collected at the head refers to the head.
        point.memo = None
        if point is self.head:
            return
        if not point.private:
            self._merge(point)
        elif point.later is not None:
            self.release(point.later)

    def _former(self, point: Checkpoint) -> dict[str, Resource | None]:
        chain = []
        step: Checkpoint | None = point
        while step is not None:
            chain.append(step.before)
            step = step.later
        former: dict[str, Resource | None] = {}
        # The oldest value of a name is the one it had at the checkpoint.
        for before in reversed(chain):
            former.update(before)
        return former

    @property
    def depth(self) -> int:
        """How many moments of the past are kept (0 when all readers are at the head)."""
        return len(self._points) - 1
