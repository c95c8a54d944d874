"""What a proxy asks: the bytes of discovery requests, in the state-of-the-world and the incremental variant.

Requests are joined from fields that many proxies share: a set of a thousand names is written once.
Both variants say the same four things: a first request, a change of what is asked for, an ACK, a NACK.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol, TypeAlias
from weakref import WeakValueDictionary

from google.protobuf import json_format

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.bootstrap import Node

_SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
DELTA_PATH = _SERVICE + "DeltaAggregatedResources"
SOTW_PATH = _SERVICE + "StreamAggregatedResources"

# https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto
_D_NODE, _D_TYPE, _D_SUBSCRIBE, _D_UNSUBSCRIBE, _D_VERSIONS, _D_NONCE, _D_ERROR = 1, 2, 3, 4, 5, 6, 7
_S_VERSION, _S_NODE, _S_NAMES, _S_TYPE, _S_NONCE, _S_ERROR = 1, 2, 3, 4, 5, 6
_INTERNAL = 13
"""The status code that Envoy puts into a NACK."""

Versions: TypeAlias = Mapping[str, str]


class Names:
    """A set of names that are asked for; equal sets are one object (see `names`)."""

    __slots__ = ("__weakref__", "_listed", "_subscribe", "all")

    def __init__(self, every: frozenset[str]) -> None:
        self.all = every
        self._subscribe: bytes | None = None
        self._listed: bytes | None = None

    @property
    def subscribe(self) -> bytes:
        """As names to subscribe to, incremental variant."""
        if self._subscribe is None:
            self._subscribe = b"".join(wire.string(_D_SUBSCRIBE, name) for name in sorted(self.all))
        return self._subscribe

    @property
    def unsubscribe(self) -> bytes:
        """As names that are given up, incremental variant."""
        return b"".join(wire.string(_D_UNSUBSCRIBE, name) for name in sorted(self.all))

    @property
    def listed(self) -> bytes:
        """As the names of a state-of-the-world request."""
        if self._listed is None:
            self._listed = b"".join(wire.string(_S_NAMES, name) for name in sorted(self.all))
        return self._listed


_interned: WeakValueDictionary[frozenset[str], Names] = WeakValueDictionary()


def names(every: frozenset[str]) -> Names:
    """The one object for this set."""
    found = _interned.get(every)
    if found is None:
        found = _interned[every] = Names(every)
    return found


NONE = names(frozenset())


class Variant(Protocol):
    """One way to write requests.  A nonce or version is text; "" where there is none."""

    path: str
    """The gRPC method."""
    delta: bool

    def node(self, node: Node) -> bytes:
        """Who the proxy is: stands before the first request of a stream."""
        ...

    def first(self, url: str, wanted: Names, has: bytes, version: str) -> bytes:
        """The first request of a type on a stream; `has` are fields of `known`."""
        ...

    def known(self, versions: Versions) -> bytes:
        """What a proxy has already, as fields of a first request."""
        ...

    def change(self, url: str, wanted: Names, more: Names, fewer: Names, last: tuple[str, str]) -> bytes:
        """`more` and `fewer` names are wanted now; `last` is version and nonce of the last response."""
        ...

    def answer(self, url: str, wanted: Names, last: tuple[str, str], error: str | None) -> bytes:
        """An ACK, or a NACK that says why; `last` is the version in use and the nonce that is answered."""
        ...


class Delta:
    """The incremental variant."""

    path = DELTA_PATH
    delta = True

    def node(self, node: Node) -> bytes:
        return _node(_D_NODE, node)

    def first(self, url: str, wanted: Names, has: bytes, version: str) -> bytes:
        return _type(_D_TYPE, url) + wanted.subscribe + has

    def known(self, versions: Versions) -> bytes:
        return b"".join(_pair(name, version) for name, version in versions.items())

    def change(self, url: str, wanted: Names, more: Names, fewer: Names, last: tuple[str, str]) -> bytes:
        # A change of subscription answers nothing: it has no nonce.
        return _type(_D_TYPE, url) + more.subscribe + fewer.unsubscribe

    def answer(self, url: str, wanted: Names, last: tuple[str, str], error: str | None) -> bytes:
        return _type(_D_TYPE, url) + wire.string(_D_NONCE, last[1]) + _error(_D_ERROR, error)


class Sotw:
    """The state-of-the-world variant: every request lists all names."""

    path = SOTW_PATH
    delta = False

    def node(self, node: Node) -> bytes:
        return _node(_S_NODE, node)

    def first(self, url: str, wanted: Names, has: bytes, version: str) -> bytes:
        return self.answer(url, wanted, (version, ""), None)

    def known(self, versions: Versions) -> bytes:
        return b""

    def change(self, url: str, wanted: Names, more: Names, fewer: Names, last: tuple[str, str]) -> bytes:
        return self.answer(url, wanted, last, None)

    def answer(self, url: str, wanted: Names, last: tuple[str, str], error: str | None) -> bytes:
        version, nonce = last
        return b"".join(
            (
                wire.string(_S_VERSION, version),
                wanted.listed,
                _type(_S_TYPE, url),
                wire.string(_S_NONCE, nonce),
                _error(_S_ERROR, error),
            )
        )


VARIANTS: dict[str, Variant] = {"DELTA_GRPC": Delta(), "GRPC": Sotw()}


def _node(number: int, node: Node) -> bytes:
    message: Any = json_format.ParseDict(node.as_json(), pb.base.Node())
    return wire.length_delimited(number, message.SerializeToString())


@lru_cache(64)
def _type(number: int, url: str) -> bytes:
    return wire.string(number, url)


@lru_cache(200_000)
def _pair(name: str, version: str) -> bytes:
    return wire.length_delimited(_D_VERSIONS, wire.string(1, name) + wire.string(2, version))


def _error(number: int, text: str | None) -> bytes:
    # google.rpc.Status: code, message
    return (
        b"" if text is None else wire.length_delimited(number, wire.uint(1, _INTERNAL) + wire.string(2, text))
    )
