"""What a proxy is told: responses, each of which is parsed once however many proxies receive it.

A thousand proxies are sent the same resources with different nonces.  A response is cut in three:
a version in front, the resources, and from the type URL on what differs from proxy to proxy (nonce,
removed names, who the server is).  Resources are recognised by comparing their bytes with those seen
last; only what is new is parsed.  Where a server writes the same resources in another order for
every proxy, each resource is recognised by itself.

Servers write the fields of a message in the order of their numbers; a response that is written
otherwise is parsed as a whole, each time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, LISTENER
from controlplane.lab.churn import markers
from controlplane.lab.client import references

FOLLOWED = frozenset((CLUSTER, LISTENER))
"""Types whose resources name resources of another type."""

_NEEDLE = b"type.googleapis.com/"
_TYPE_FIELD = 4 << 3 | 2
_VERSION_FIELD = 1 << 3 | 2
_END = 32
_KEPT = 64 * 2**20
"""Bytes of recent responses that are kept for comparison."""


class Resource:
    """The content of a resource; one object for equal bytes, as long as a proxy has it."""

    __slots__ = ("__weakref__", "_hash", "body", "markers", "name", "refs")

    def __init__(self, url: str, body: bytes) -> None:
        self.body = body
        self.name = _name(url, body)
        self.refs: tuple[str, ...] = references(url, body) if url in FOLLOWED else ()
        self.markers = markers.found(body)
        self._hash = ""

    @property
    def hash(self) -> str:
        """A hash of the bytes, equal in all processes."""
        if not self._hash:
            self._hash = hashlib.blake2b(self.body, digest_size=8).hexdigest()
        return self._hash


class Held(NamedTuple):
    """A resource as a server gave it; `version` is the server's, which may be empty.

    None: the server removed it, but who uses it does so until it has another, as Envoy does with endpoints
    and routes.
    """

    version: str | None
    resource: Resource


class Content:
    """What a response says, whatever its nonce; one object for equal responses."""

    __slots__ = ("__weakref__", "complete", "found", "markers", "removed", "url")

    def __init__(
        self, url: str, found: Mapping[str, Held], removed: tuple[str, ...], *, complete: bool
    ) -> None:
        self.url = url
        self.found = found
        self.removed = removed
        self.complete = complete
        """What is not in it is gone."""
        self.markers: frozenset[int] = frozenset().union(*(held.resource.markers for held in found.values()))


class Response(NamedTuple):
    """One response: its content, and what the answer must repeat."""

    content: Content
    version: str
    nonce: str


_Key: TypeAlias = tuple[str, int, bytes, bytes]
"""Type, size, beginning and end of the bytes of resources."""


class _Section:
    """The bytes of resources, and what they turned out to be; by the names that were removed beside them."""

    __slots__ = ("contents", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.contents: dict[tuple[str, ...], Content] = {}


class Parser:
    """Parses the responses of one variant, equal ones once; keeps `kept` bytes to compare with."""

    def __init__(self, *, delta: bool, kept: int = _KEPT) -> None:
        self._delta = delta
        discovery = pb.discovery
        self._message: Any = discovery.DeltaDiscoveryResponse if delta else discovery.DiscoveryResponse
        self._kept = kept
        self._size = 0
        self._sections: dict[_Key, list[_Section]] = {}
        # Those recognised last are at the end.
        self._order: OrderedDict[_Section, _Key] = OrderedDict()
        self._resources: WeakValueDictionary[tuple[str, bytes], Resource] = WeakValueDictionary()
        self._contents: WeakValueDictionary[Any, Content] = WeakValueDictionary()
        self.parsed = 0
        """How many responses were not recognised."""

    def parse(self, data: bytes) -> Response:
        """google.protobuf.message.DecodeError when it is no response."""
        begin, start, stop = _cut(data)
        if stop < 0:
            message = self._message.FromString(data)
            version = message.system_version_info if self._delta else message.version_info
            return Response(self._content(message, message), version, message.nonce)
        tail = self._message.FromString(data[stop:])
        version = data[begin:start].decode()
        removed = tuple(tail.removed_resources) if self._delta else ()
        section = self._section(tail.type_url, data, start, stop)
        content = section.contents.get(removed)
        if content is None:
            content = section.contents[removed] = self._content(self._message.FromString(data), tail)
        return Response(content, version, tail.nonce)

    def _section(self, url: str, data: bytes, start: int, stop: int) -> _Section:
        key = (url, stop - start, data[start : start + _END], data[max(start, stop - _END) : stop])
        alike = self._sections.setdefault(key, [])
        for found in alike:
            if data.startswith(found.data, start):
                self._order.move_to_end(found)
                return found
        made = _Section(data[start:stop])
        alike.append(made)
        self._order[made] = key
        self._size += len(made.data)
        while self._size > self._kept and len(self._order) > 1:
            self._forget()
        return made

    def _forget(self) -> None:
        oldest, key = self._order.popitem(last=False)
        self._size -= len(oldest.data)
        alike = self._sections[key]
        alike.remove(oldest)
        if not alike:
            del self._sections[key]

    def _content(self, message: Any, tail: Any) -> Content:
        self.parsed += 1
        url, removed = tail.type_url, ()
        if self._delta:
            removed = tuple(tail.removed_resources)
            found = {
                one.name: Held(one.version, self._resource(url, one.resource.value))
                for one in message.resources
            }
        else:
            every = [self._resource(url, one.value) for one in message.resources]
            found = {one.name: Held("", one) for one in every}
        # Resources are compared by identity: equal bytes are one object.
        key = (url, removed, frozenset(found.items()))
        content = self._contents.get(key)
        if content is None:
            complete = not self._delta and url in FOLLOWED
            content = self._contents[key] = Content(url, found, removed, complete=complete)
        return content

    def _resource(self, url: str, body: bytes) -> Resource:
        found = self._resources.get((url, body))
        if found is None:
            found = self._resources[url, body] = Resource(url, body)
        return found


def _cut(data: bytes) -> tuple[int, int, int]:
    """Where the version, the resources and the rest begin; the last is -1 when fields are not in order."""
    url = data.rfind(_NEEDLE)
    stop = url - 2
    if stop < 0 or data[stop] != _TYPE_FIELD or url + data[url - 1] > len(data):
        return 0, 0, -1
    if data[0] != _VERSION_FIELD:
        return 0, 0, stop
    size, begin = _length(data)
    return begin, begin + size, stop


def _length(data: bytes) -> tuple[int, int]:
    """The length of the first field, a string, and where it begins."""
    size = shift = 0
    at = 1
    while data[at] >= 128:
        size |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return size | data[at] << shift, at + 1


def _name(url: str, body: bytes) -> str:
    """Every type of resource has its name first."""
    if body and body[0] == _VERSION_FIELD:
        size, start = _length(body)
        return body[start : start + size].decode()
    return ""
