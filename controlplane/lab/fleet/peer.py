"""A synthetic proxy: it subscribes as Envoy does, answers every response, and remembers what it has.

A thousand of them live in one process, so nothing is done twice: what a proxy has is a `Holding` that it
shares with others (see `holdings`).  The rest of the work is a few lookups for every message.

The order is Envoy's.  A new proxy asks for clusters, then for the endpoints that they name and for its
secrets; for listeners once both are there, then for the routes that they name.  What follows from a
response is asked for before the response is acknowledged.  On a later stream everything is asked for at
once, in the same order, with what the proxy has: versions by name (incremental) or the version of the
last response that it took (state of the world).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from controlplane.lab.fleet.holdings import FOLLOWS, NOTHING, UNSEEN, Follow, Holding, Seen
from controlplane.lab.fleet.requests import NONE, Names, Variant, names
from controlplane.lab.fleet.responses import Response

SERVED = (CLUSTER, ENDPOINT, SECRET, LISTENER, ROUTE, VIRTUAL_HOST)
_ALL = "*"


class Taken(NamedTuple):
    """What a response did to a proxy: what it sends, and the changes it had not seen."""

    requests: list[bytes]
    markers: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Peer:
    """One proxy; `node` is who it is, as a field of a request.  Pure: whoever owns it sends the bytes."""

    variant: Variant
    node: bytes
    hosts: Names = NONE
    """Virtual hosts that it fetches on demand, once it has routes; incremental variant."""
    secrets: Names = NONE
    """Secrets that it asks for once it has clusters, which use them."""
    holdings: dict[str, Holding] = field(default_factory=dict)
    _seen: Seen = UNSEEN
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
        urls = [CLUSTER]
        urls += [url for url in (ENDPOINT, SECRET) if self._has(url).asked.all]
        if self._asked:
            urls += [LISTENER]
            urls += [ROUTE] if self._has(ROUTE).asked.all else []
        requests = [self._first(url) for url in urls]
        if VIRTUAL_HOST in self.holdings:
            # Envoy began with all and went on with names; a new stream is told both.
            asked = names(self.hosts.all | {_ALL})
            known = self._has(VIRTUAL_HOST).known(self.variant)
            requests.append(self.variant.first(VIRTUAL_HOST, asked, known, ""))
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
            if url == CLUSTER and self.secrets.all and SECRET not in self.holdings:
                self.holdings[SECRET] = Holding(asked=self.secrets)
                requests.append(self._first(SECRET))
        if not self._asked and (url == ENDPOINT or not self._has(ENDPOINT).asked.all):
            requests += self.listeners()
        requests.append(self.variant.answer(url, self._has(url).asked, self._last[url], error))
        if url == ROUTE and self.hosts.all and VIRTUAL_HOST not in self.holdings:
            requests += self._demand()
        return Taken(requests, numbers)

    def listeners(self) -> list[bytes]:
        """Ask for listeners, if that was not done: clusters are there, or took too long."""
        if self._asked:
            return []
        self._asked = True
        return [self._first(LISTENER)]

    def _demand(self) -> list[bytes]:
        """As a request makes Envoy do it: the subscription is there, a name is added."""
        self.holdings[VIRTUAL_HOST] = Holding(asked=self.hosts)
        first = self.variant.first(VIRTUAL_HOST, NONE, b"", "")
        return [first, self.variant.change(VIRTUAL_HOST, self.hosts, self.hosts, NONE, ("", ""))]

    def forget(self) -> None:
        """Begin anew, with nothing; not while it is connected."""
        self.holdings.clear()
        self._last.clear()
        self._seen = UNSEEN
        self._asked = False

    @property
    def warm(self) -> bool:
        """Whether it has been answered all that it asked for on this stream."""
        answered = self._answered
        if CLUSTER not in answered or LISTENER not in answered or not self.secured:
            return False
        return all(url in answered or not self._has(url).asked.all for url in FOLLOWS.values())

    @property
    def secured(self) -> bool:
        """Whether it was given all of its secrets on this stream."""
        if not self.secrets.all:
            return True
        return SECRET in self._answered and self.secrets.all <= self._has(SECRET).resources.keys()

    @property
    def complete(self) -> bool:
        """Whether it has all that it asks for, answered on this stream or not."""
        if CLUSTER not in self.holdings or LISTENER not in self.holdings:
            return False
        held = [self._has(url) for url in FOLLOWS.values()]
        return all(one.asked.all <= one.resources.keys() for one in held)

    def _first(self, url: str) -> bytes:
        version, _ = self._last.get(url, ("", ""))
        holding = self._has(url)
        return self.variant.first(url, holding.asked, holding.known(self.variant), version)

    def _follow(self, follow: Follow) -> list[bytes]:
        url = follow.url
        self.holdings[url] = self._has(url).asking(follow)
        # In the incremental variant Envoy says nothing of a cluster that changed, it only waits.
        if self.variant.delta and not follow.more.all and not follow.fewer.all:
            return []
        last = self._last.get(url, ("", ""))
        return [self.variant.change(url, follow.wanted, follow.more, follow.fewer, last)]

    def _has(self, url: str) -> Holding:
        return self.holdings.get(url, NOTHING)
