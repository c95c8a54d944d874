"""Envoy's half of a replayed stream: it subscribes as Envoy does and accepts everything, at once.

All clusters and listeners, then the endpoints that the clusters name and the routes that the listeners
name.  It reads the plan of a response rather than its bytes: a thousand proxies that decode every response
would be the largest part of a replay.  `controlplane.lab.client` is the same on the other side of a wire.
"""

from __future__ import annotations

from collections.abc import Collection

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import BY_URL, CLUSTER, LISTENER, VIRTUAL_HOST
from controlplane.xds.names import NOBODY, intern_names
from controlplane.xds.protocol import Push, Request
from controlplane.xds.variant import Variant, complete

_FOLLOWS = {url: BY_URL[url].refers_to for url in (CLUSTER, LISTENER)}


class Envoy:
    """One proxy; `has` is what it was given, by type URL and name.  It outlives its streams.

    `on_demand`: its virtual hosts come when it asks for them, if it is incremental.
    """

    def __init__(self, variant: Variant, on_demand: bool = False) -> None:
        self.variant = variant
        self._on_demand = on_demand and variant is Variant.DELTA
        self.has: dict[str, dict[str, Resource]] = {}
        self._wanted: dict[str, frozenset[str]] = {}
        self._versions: dict[str, str] = {}
        self._nonces: dict[str, str] = {}

    def again(self) -> Envoy:
        """The same proxy, on a stream that began before the server saw the end of this one."""
        made = Envoy(self.variant, self._on_demand)
        made.has = {url: dict(found) for url, found in self.has.items()}
        made._wanted = dict(self._wanted)
        made._versions = dict(self._versions)
        return made

    def connect(self) -> list[Request]:
        """The first requests of a stream; after a reconnect they say what it has."""
        self._nonces.clear()
        wanted = {url: names for url, names in sorted(self._wanted.items()) if names}
        if self._on_demand:
            wanted.setdefault(VIRTUAL_HOST, NOBODY)
        return [
            self._first(url, names) for url, names in {CLUSTER: NOBODY, LISTENER: NOBODY, **wanted}.items()
        ]

    def ask(self, url: str, names: Collection[str]) -> Request:
        """It turned out to want these, too."""
        before = self._wanted.get(url, NOBODY)
        self._wanted[url] = before.union(names)
        return Request(url, names=intern_names(self._wanted[url] - before))

    def take(self, push: Push) -> list[Request]:
        """What it answers to a response."""
        url, plan = push.spec.url, push.plan
        has = self.has.setdefault(url, {})
        if complete(push.spec, self.variant):
            has.clear()
        wanted = None if url in _FOLLOWS else self._wanted.get(url, NOBODY)
        for one in plan.upserts:
            if wanted is None or one.name in wanted:
                has[one.name] = one
        for name in plan.removed:
            has.pop(name, None)
        self._versions[url] = plan.version
        self._nonces[url] = push.nonce
        # Envoy asks for the endpoints of a new cluster before it acknowledges the cluster.
        return [*self._follow(url), self._ack(url)]

    def _first(self, url: str, names: frozenset[str]) -> Request:
        if self.variant is Variant.SOTW:
            return Request(url, names=names, version=self._versions.get(url, ""))
        known = {name: one.version for name, one in self.has.get(url, {}).items() if not one.missing}
        return Request(url, names=names, known=known)

    def _follow(self, url: str) -> list[Request]:
        """Subscribe to what is referred to now."""
        target = _FOLLOWS.get(url)
        if target is None:
            return []
        wanted = intern_names({name for one in self.has[url].values() for name in one.refs})
        before = self._wanted.get(target, NOBODY)
        if wanted == before:
            return []
        self._wanted[target] = wanted
        gone = before - wanted
        for name in gone:
            self.has.get(target, {}).pop(name, None)
        if self.variant is Variant.SOTW:
            return [self._ack(target)]
        return [Request(target, names=wanted - before, unsubscribe=gone)]

    def _ack(self, url: str) -> Request:
        nonce = self._nonces.get(url, "")
        if self.variant is Variant.DELTA:
            return Request(url, nonce)
        return Request(url, nonce, self._wanted.get(url, NOBODY), version=self._versions.get(url, ""))
