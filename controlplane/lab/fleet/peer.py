"""A synthetic proxy: it subscribes as Envoy does, answers every response, and remembers what it has.

A thousand of them live in one process, so nothing is done twice.  Responses that differ in their
nonce only are parsed once; what a proxy has is an immutable `Holding` shared by all proxies
that went the same way; a step from one holding to the next, with the requests that follow from
it, is remembered at the first.  The rest of the work is a few lookups for every message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from google.protobuf import json_format

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.client import references

DELTA_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
FOLLOWS = {CLUSTER: ENDPOINT, LISTENER: ROUTE}
SERVED = (CLUSTER, ENDPOINT, LISTENER, ROUTE)

# Fields of DeltaDiscoveryRequest.
_NODE, _TYPE_URL, _SUBSCRIBE, _UNSUBSCRIBE, _VERSIONS, _NONCE = 1, 2, 3, 4, 5, 6
_HEAD, _TAIL = 32, 256


@dataclass(slots=True, eq=False)
class Parsed:
    """What a response says, whatever its nonce; one object for equal responses."""

    url: str
    versions: dict[str, str]
    removed: tuple[str, ...]
    refs: dict[str, tuple[str, ...]]


class Parser:
    """Parses equal responses once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int, bytes], tuple[Parsed, bytes]] = {}
        self._alike: dict[tuple[str, str, int], list[Parsed]] = {}
        self._refs: dict[str, tuple[str, ...]] = {}

    def parse(self, data: bytes) -> tuple[Parsed, bytes]:
        """The response, and its nonce as the field of a request."""
        # It begins with a hash of the content and ends with what may differ beside: nonce, introduction.
        key = (data[:_HEAD], len(data), data[-_TAIL:])
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._parse(data)
        return found

    def _parse(self, data: bytes) -> tuple[Parsed, bytes]:
        message: Any = pb.discovery.DeltaDiscoveryResponse.FromString(data)
        nonce = wire.string(_NONCE, message.nonce)
        url = message.type_url
        versions = {one.name: one.version for one in message.resources}
        removed = tuple(message.removed_resources)
        alike = self._alike.setdefault((url, message.system_version_info, len(versions)), [])
        for parsed in alike:
            if parsed.versions == versions and parsed.removed == removed:
                return parsed, nonce
        refs = {}
        if url in FOLLOWS:
            refs = {one.name: self._references(url, one) for one in message.resources}
        parsed = Parsed(url, versions, removed, refs)
        alike.append(parsed)
        return parsed, nonce

    def _references(self, url: str, resource: Any) -> tuple[str, ...]:
        # The version is a hash of the body.
        found = self._refs.get(resource.version)
        if found is None:
            found = self._refs[resource.version] = references(url, resource.resource.value)
        return found


@dataclass(slots=True, eq=False)
class Holding:
    """What proxies have of one type; `steps` leads from here to what they have after a response."""

    versions: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    """Names of the next type that follow from it."""
    steps: dict[Parsed, tuple[Holding, bytes]] = field(default_factory=dict)
    _known: bytes = b""

    @property
    def known(self) -> bytes:
        """The versions as fields of a request."""
        if not self._known:
            self._known = b"".join(_pair(name, version) for name, version in self.versions.items())
        return self._known

    def after(self, response: Parsed) -> tuple[Holding, bytes]:
        """The holding after this response, and the request for the next type ("" where none follows)."""
        step = self.steps.get(response)
        if step is None:
            # A chain of all holdings that ever were would grow without end.
            if len(self.steps) > 2000:
                self.steps.clear()
            step = self.steps[response] = self._step(response)
        return step

    def _step(self, response: Parsed) -> tuple[Holding, bytes]:
        versions = {**self.versions, **response.versions}
        refs = {**self.refs, **response.refs}
        for name in response.removed:
            versions.pop(name, None)
            refs.pop(name, None)
        if response.url not in FOLLOWS:
            return Holding(versions), b""
        wanted = frozenset(ref for found in refs.values() for ref in found)
        request = b""
        if wanted != self.wanted:
            more, fewer = wanted - self.wanted, self.wanted - wanted
            request = _request(FOLLOWS[response.url], more, fewer)
        return Holding(versions, refs, wanted), request


_EMPTY = Holding()


@dataclass(slots=True, eq=False)
class Peer:
    """One proxy.  `send` is the connection's; `answered` are the types it was answered since it connected."""

    number: int
    scope: str
    node: bytes
    send: Callable[[bytes], None]
    holdings: dict[str, Holding] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def greet(self) -> None:
        """The first requests of a stream; with versions when it has something from an earlier one."""
        self.answered.clear()
        introduction = self.node
        for url in (CLUSTER, LISTENER):
            self.send(introduction + _request(url) + self._has(url).known)
            introduction = b""
        for first, url in FOLLOWS.items():
            if wanted := self._has(first).wanted:
                self.send(_request(url, wanted) + self._has(url).known)

    def take(self, parsed: Parsed, nonce: bytes) -> None:
        """Answer a response, and ask for what follows from it."""
        url = parsed.url
        self.send(acknowledgement(parsed, nonce))
        self.answered.add(url)
        holding, follow = self._has(url).after(parsed)
        self.holdings[url] = holding
        if follow:
            self.send(follow)

    @property
    def warm(self) -> bool:
        """Whether it has been answered all that it asked for."""
        return len(self.answered) == len(SERVED)

    def _has(self, url: str) -> Holding:
        return self.holdings.get(url, _EMPTY)


def acknowledgement(parsed: Parsed, nonce: bytes) -> bytes:
    """The request that accepts a response."""
    return _ACK[parsed.url] + nonce


def introduction(mesh: Mesh, number: int) -> bytes:
    """Who proxy `number` is, as the field of a request."""
    node = json_format.ParseDict(mesh.node(number).as_json(), pb.base.Node())
    return wire.length_delimited(_NODE, node.SerializeToString())


@lru_cache(200_000)
def _pair(name: str, version: str) -> bytes:
    return wire.length_delimited(_VERSIONS, wire.string(1, name) + wire.string(2, version))


@lru_cache(1024)
def _request(
    url: str, subscribe: frozenset[str] = frozenset(), unsubscribe: frozenset[str] = frozenset()
) -> bytes:
    parts = [wire.string(_TYPE_URL, url)]
    parts += [wire.string(_SUBSCRIBE, name) for name in sorted(subscribe)]
    parts += [wire.string(_UNSUBSCRIBE, name) for name in sorted(unsubscribe)]
    return b"".join(parts)


_ACK = {url: _request(url) for url in SERVED}
