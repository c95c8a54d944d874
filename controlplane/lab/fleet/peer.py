"""A synthetic proxy: it subscribes as Envoy does, answers every response, and remembers what it has.

A thousand of them live in one process, so nothing is done twice.  What a proxy has is an immutable
`Holding` shared by all proxies that went the same way; a step from one holding to the next, with
what the proxy then asks for, is remembered as long as somebody stands where it leads.  The rest of
the work is a few lookups for every message.

The order is Envoy's.  A new proxy asks for clusters, then for the endpoints that they name; for
listeners once both are there, then for the routes that they name.  What follows from a response is
asked for before the response is acknowledged.  On a later stream everything is asked for at once,
in the same order, with what the proxy has: versions by name (incremental) or the version of the last
response that it took (state of the world).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.fleet.requests import NONE, Names, Variant, names
from controlplane.lab.fleet.responses import Content, Held, Response

FOLLOWS = {CLUSTER: ENDPOINT, LISTENER: ROUTE}
SERVED = (CLUSTER, ENDPOINT, LISTENER, ROUTE)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Follow:
    """What is asked for after a response: names of another type."""

    url: str
    wanted: Names
    more: Names
    fewer: Names
    fresh: bool
    """A cluster that uses them has changed: Envoy waits for its endpoints again."""


class Holding:
    """What proxies have of one type, and which names of the next type follow from it."""

    __slots__ = ("__weakref__", "_known", "_steps", "resources", "wanted")

    def __init__(self, resources: Mapping[str, Held] = {}, wanted: Names = NONE) -> None:
        self.resources = resources
        self.wanted = wanted
        self._known: bytes | None = None
        self._steps: WeakKeyDictionary[Content | Follow, tuple[ReferenceType[Holding], Follow | None]]
        self._steps = WeakKeyDictionary()

    def known(self, variant: Variant) -> bytes:
        """What there is, as fields of a first request."""
        if self._known is None:
            self._known = variant.known({name: held.version for name, held in self.resources.items()})
        return self._known

    def after(self, content: Content) -> tuple[Holding, Follow | None]:
        """The holding after this response, and what must be asked for then."""
        step = self._steps.get(content)
        if step is not None and (there := step[0]()) is not None:
            return there, step[1]
        there, follow = self._step(content)
        self._steps[content] = (ref(there), follow)
        return there, follow

    def without(self, follow: Follow) -> Holding:
        """The holding of somebody who no longer wants some of the names."""
        if not any(name in self.resources for name in follow.fewer.all):
            return self
        step = self._steps.get(follow)
        there = step[0]() if step is not None else None
        if there is None:
            gone = follow.fewer.all
            left = {name: held for name, held in self.resources.items() if name not in gone}
            there = Holding(left, self.wanted)
            self._steps[follow] = (ref(there), None)
        return there

    def _step(self, content: Content) -> tuple[Holding, Follow | None]:
        before = self.resources
        after = dict(content.found) if content.complete else {**before, **content.found}
        for name in content.removed:
            after.pop(name, None)
        if content.url not in FOLLOWS:
            return Holding(after, self.wanted), None
        wanted = names(frozenset(one for held in after.values() for one in held.resource.refs))
        more, fewer = wanted.all - self.wanted.all, self.wanted.all - wanted.all
        fresh = content.url == CLUSTER and any(
            held.resource.refs and name in before and before[name].resource is not held.resource
            for name, held in content.found.items()
        )
        holding = Holding(after, wanted)
        if not more and not fewer and not fresh:
            return holding, None
        return holding, Follow(FOLLOWS[content.url], wanted, names(more), names(fewer), fresh)


_NOTHING = Holding()


class Seen:
    """The change numbers that proxies have seen; shared as holdings are."""

    __slots__ = ("__weakref__", "_steps", "numbers")

    def __init__(self, numbers: frozenset[int] = frozenset()) -> None:
        self.numbers = numbers
        self._steps: WeakKeyDictionary[Content, tuple[tuple[int, ...], ReferenceType[Seen]]]
        self._steps = WeakKeyDictionary()

    def after(self, content: Content) -> tuple[tuple[int, ...], Seen]:
        """The numbers in this response that are new, and all that have been seen then."""
        if not content.markers:
            return (), self
        step = self._steps.get(content)
        if step is not None and (there := step[1]()) is not None:
            return step[0], there
        new = content.markers - self.numbers
        there = Seen(self.numbers | new) if new else self
        numbers = tuple(sorted(new))
        self._steps[content] = (numbers, ref(there))
        return numbers, there


_UNSEEN = Seen()


class Taken(NamedTuple):
    """What a response did to a proxy: what it sends, and the changes it had not seen."""

    requests: list[bytes]
    markers: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Peer:
    """One proxy; `node` is who it is, as a field of a request.  Pure: whoever owns it sends the bytes."""

    variant: Variant
    node: bytes
    holdings: dict[str, Holding] = field(default_factory=dict)
    _seen: Seen = _UNSEEN
    _last: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Version and nonce of the last response by type: the version is that of the last one accepted."""
    _asked: bool = False
    """Whether it has asked for listeners, ever."""
    _answered: set[str] = field(default_factory=set)
    """The types that were answered on this stream."""

    def greet(self) -> list[bytes]:
        """The first requests of a stream."""
        self._answered.clear()
        self._last = {url: (version, "") for url, (version, _) in self._last.items()}
        requests = [self._first(CLUSTER, NONE)]
        if (wanted := self._has(CLUSTER).wanted).all:
            requests.append(self._first(ENDPOINT, wanted))
        if self._asked:
            requests.append(self._first(LISTENER, NONE))
            if (wanted := self._has(LISTENER).wanted).all:
                requests.append(self._first(ROUTE, wanted))
        requests[0] = self.node + requests[0]
        return requests

    def take(self, response: Response, error: str | None = None) -> Taken:
        """Take a response in, or reject it with this error; nothing is said to a type never asked for."""
        content = response.content
        url = content.url
        if url not in SERVED:
            return Taken([], ())
        self._answered.add(url)
        version, _ = self._last.get(url, ("", ""))
        self._last[url] = (version if error is not None else response.version, response.nonce)
        requests: list[bytes] = []
        numbers: tuple[int, ...] = ()
        if error is None:
            numbers, self._seen = self._seen.after(content)
            self.holdings[url], follow = self._has(url).after(content)
            if follow is not None:
                requests += self._follow(follow)
        requests.append(self.variant.answer(url, self._wanted(url), self._last[url], error))
        if not self._asked and (url == ENDPOINT or not self._has(CLUSTER).wanted.all):
            requests += self.listeners()
        return Taken(requests, numbers)

    def listeners(self) -> list[bytes]:
        """Ask for listeners, if that was not done: clusters are there, or took too long."""
        if self._asked:
            return []
        self._asked = True
        return [self._first(LISTENER, NONE)]

    def forget(self) -> None:
        """Begin anew, with nothing; not while it is connected."""
        self.holdings.clear()
        self._last.clear()
        self._seen = _UNSEEN
        self._asked = False

    @property
    def warm(self) -> bool:
        """Whether it has been answered all that it asked for on this stream."""
        answered = self._answered
        if CLUSTER not in answered or LISTENER not in answered:
            return False
        return all(url in answered or not self._has(first).wanted.all for first, url in FOLLOWS.items())

    def _first(self, url: str, wanted: Names) -> bytes:
        version, _ = self._last.get(url, ("", ""))
        return self.variant.first(url, wanted, self._has(url).known(self.variant), version)

    def _follow(self, follow: Follow) -> list[bytes]:
        url = follow.url
        held = self._has(url)
        if follow.fewer.all:
            self.holdings[url] = held.without(follow)
        # In the incremental variant Envoy says nothing of a cluster that changed, it only waits.
        if self.variant.delta and not follow.more.all and not follow.fewer.all:
            return []
        last = self._last.get(url, ("", ""))
        return [self.variant.change(url, follow.wanted, follow.more, follow.fewer, last)]

    def _wanted(self, url: str) -> Names:
        if url == ENDPOINT:
            return self._has(CLUSTER).wanted
        return self._has(LISTENER).wanted if url == ROUTE else NONE

    def _has(self, url: str) -> Holding:
        return self.holdings.get(url, _NOTHING)
