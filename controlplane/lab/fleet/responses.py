"""What a proxy is told: responses, each of which is parsed once however many proxies receive it.

A thousand proxies are sent the same resources with different nonces.  A response is cut in three:
a version in front, the resources, and from the type URL on what differs from proxy to proxy (nonce,
removed names, who the server is).  Resources are recognised by comparing their bytes with those seen
last, first all at once, then one by one (see `frames`): every proxy has a few of its own between a
thousand that all have.

Servers write the fields of a message in the order of their numbers; a response that is written
otherwise is parsed as a whole, each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from controlplane.envoy import pb
from controlplane.lab.fleet.frames import FOLLOWED, Frames, Held, length

_NEEDLE = b"type.googleapis.com/"
_TYPE_FIELD = 4 << 3 | 2
_VERSION_FIELD = 1 << 3 | 2
_EDGE = 32
_KEPT = 64 * 2**20
"""Bytes of recent responses that are kept for comparison."""
_LARGE = 2**20
_SMALL = 2**14
"""Up to so many bytes, looking up all of them is cheaper than comparing with several."""
_MANY = 256
"""Sections that differ in the middle only: as many are tried one after the other."""


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


class _Alike:
    """Sections that one must look into to tell them apart."""

    __slots__ = ("misses", "sections")

    def __init__(self) -> None:
        self.sections: list[_Section] = []
        self.misses = 0
        """How many were new since one was recognised."""

    def worth(self, size: int) -> bool:
        """Whether to keep one more: where every proxy has its own, keeping large ones costs most of all."""
        return size < _LARGE or self.misses <= 4 or self.misses % 16 == 0


class Parser:
    """Parses the responses of one variant, equal ones once; keeps `kept` bytes to compare with."""

    def __init__(self, *, delta: bool, kept: int = _KEPT) -> None:
        self._delta = delta
        discovery = pb.discovery
        self._message: Any = discovery.DeltaDiscoveryResponse if delta else discovery.DiscoveryResponse
        self._kept = kept
        self._size = 0
        self._sections: dict[_Key, _Alike] = {}
        # Those recognised last are at the end.
        self._order: OrderedDict[_Section, _Key] = OrderedDict()
        self._frames = Frames(delta=delta, kept=kept)
        self._contents: WeakValueDictionary[Any, Content] = WeakValueDictionary()
        self.parsed = 0
        """How many responses were not recognised as a whole."""

    def parse(self, data: bytes) -> Response:
        """google.protobuf.message.DecodeError when it is no response."""
        begin, start, stop = _cut(data)
        if stop < 0:
            message = self._message.FromString(data)
            version = message.system_version_info if self._delta else message.version_info
            found = self._frames.every(message.type_url, message.resources)
            return Response(self._content(found, message), version, message.nonce)
        tail = self._message.FromString(data[stop:])
        version = data[begin:start].decode()
        removed = tuple(tail.removed_resources) if self._delta else ()
        section = self._section(tail.type_url, data, start, stop)
        content = section.contents.get(removed)
        if content is None:
            split = self._frames.split(tail.type_url, data, start, stop)
            if split is None:
                split = self._frames.every(tail.type_url, self._message.FromString(data).resources)
            content = section.contents[removed] = self._content(split, tail)
        return Response(content, version, tail.nonce)

    def _section(self, url: str, data: bytes, start: int, stop: int) -> _Section:
        size = stop - start
        edge = size if size <= _SMALL else _EDGE
        key = (url, size, data[start : start + edge], data[max(start, stop - _EDGE) : stop])
        alike = self._sections.get(key)
        if alike is None:
            alike = self._sections[key] = _Alike()
        for found in alike.sections:
            if data.startswith(found.data, start):
                self._order.move_to_end(found)
                alike.misses = 0
                return found
        alike.misses += 1
        if not alike.worth(size):
            return _Section(b"")
        made = _Section(data[start:stop])
        alike.sections.append(made)
        if len(alike.sections) > _MANY:
            self._forget(alike.sections[0])
        self._order[made] = key
        self._size += len(made.data)
        while self._size > self._kept and len(self._order) > 1:
            self._forget(next(iter(self._order)))
        return made

    def _forget(self, section: _Section) -> None:
        key = self._order.pop(section)
        self._size -= len(section.data)
        alike = self._sections[key].sections
        alike.remove(section)
        if not alike:
            del self._sections[key]

    def _content(self, found: Mapping[str, Held], tail: Any) -> Content:
        self.parsed += 1
        removed = tuple(tail.removed_resources) if self._delta else ()
        # Resources are compared by identity: equal bytes are one object.
        key = (tail.type_url, removed, frozenset(found.items()))
        content = self._contents.get(key)
        if content is None:
            complete = not self._delta and tail.type_url in FOLLOWED
            content = self._contents[key] = Content(tail.type_url, found, removed, complete=complete)
        return content


def _cut(data: bytes) -> tuple[int, int, int]:
    """Where the version, the resources and the rest begin; the last is -1 when fields are not in order."""
    url = data.rfind(_NEEDLE)
    stop = url - 2
    if stop < 0 or data[stop] != _TYPE_FIELD or url + data[url - 1] > len(data):
        return 0, 0, -1
    if data[0] != _VERSION_FIELD:
        return 0, 0, stop
    size, begin = length(data, 1)
    return begin, begin + size, stop
