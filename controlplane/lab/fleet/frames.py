"""The resources of a response, one by one: each is parsed when it is seen first, and recognised afterwards.

In most responses what follows a resource is what followed it last time.  So each frame (a resource
with its tag and length, as it stands in the bytes) remembers its follower, and a guess that is right
costs one comparison.  Where the guess is wrong the frame is looked up by its bytes: a server may write
the same resources in another order every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, LISTENER
from controlplane.lab.churn import markers
from controlplane.lab.client import references

FOLLOWED = frozenset((CLUSTER, LISTENER))
"""Types whose resources name resources of another type."""

_NAME_FIELD = 1 << 3 | 2
_RESOURCE_FIELD = 2 << 3 | 2


class Resource:
    """The content of a resource; one object for equal bytes, as long as a proxy has it."""

    __slots__ = ("__weakref__", "_hash", "body", "markers", "name", "refs", "url")

    def __init__(self, url: str, body: bytes) -> None:
        self.url = url
        self.body = body
        self.name = _name(body)
        self.refs: tuple[str, ...] = references(url, body) if url in FOLLOWED else ()
        self.markers = markers.found(body)
        self._hash = ""

    @property
    def hash(self) -> str:
        """A hash of the message, equal in all processes.

        Not of the bytes: Go writes maps in any order, and what Envoy compares is the message.
        """
        if not self._hash:
            canonical = pb.deterministic(pb.parse(self.url, self.body))
            self._hash = hashlib.blake2b(canonical, digest_size=8).hexdigest()
        return self._hash


class Held(NamedTuple):
    """A resource as a server gave it; `version` is the server's, which may be empty.

    None: the server removed it, but who uses it does so until it has another, as Envoy does with endpoints
    and routes.
    """

    version: str | None
    resource: Resource


class _Frame:
    """A resource as it stands in a response; `follower` is what stood behind it last."""

    __slots__ = ("data", "follower", "held", "name", "size")

    def __init__(self, data: bytes, name: str, held: Held | None) -> None:
        self.data = data
        self.size = len(data)
        self.name = name
        self.held = held
        self.follower: _Frame | None = None


class Frames:
    """The resources of one variant.  At most twice `kept` bytes are held to be looked up."""

    def __init__(self, *, delta: bool, kept: int) -> None:
        self._delta = delta
        discovery = pb.discovery
        self._message: Any = discovery.Resource if delta else pb.any_pb2.Any
        self._kept = kept
        # What stands in front of the first resource, by type.
        self._heads: dict[str, _Frame] = {}
        # Two generations: when the young one is full, it becomes the old one.
        self._young: dict[bytes, _Frame] = {}
        self._old: dict[bytes, _Frame] = {}
        self._size = 0
        self._resources: WeakValueDictionary[tuple[str, bytes], Resource] = WeakValueDictionary()

    def split(self, url: str, data: bytes, start: int, stop: int) -> dict[str, Held] | None:
        """The resources that stand in these bytes of a response; None when something else stands there."""
        last = self._heads.get(url)
        if last is None:
            last = self._heads[url] = _Frame(b"", "", None)
        found: dict[str, Held] = {}
        while start < stop:
            frame = last.follower
            if frame is None or not data.startswith(frame.data, start):
                if data[start] != _RESOURCE_FIELD:
                    return None
                frame = last.follower = self._look_up(url, data, start)
            assert frame.held is not None
            found[frame.name] = frame.held
            start += frame.size
            last = frame
        return found if start == stop else None

    def every(self, url: str, resources: Iterable[Any]) -> dict[str, Held]:
        """The same from parsed messages."""
        return dict(self._read(url, one) for one in resources)

    def _look_up(self, url: str, data: bytes, start: int) -> _Frame:
        size, begin = length(data, start + 1)
        frame = data[start : begin + size]
        found = self._young.get(frame) or self._old.get(frame)
        if found is None:
            message = self._message.FromString(data[begin : begin + size])
            found = _Frame(frame, *self._read(url, message))
        if frame not in self._young:
            self._young[frame] = found
            self._size += len(frame)
            if self._size > self._kept:
                self._old, self._young, self._size = self._young, {}, 0
        return found

    def _read(self, url: str, message: Any) -> tuple[str, Held]:
        if self._delta:
            held = Held(message.version, self._resource(url, message.resource.value))
            return message.name, held
        held = Held("", self._resource(url, message.value))
        return held.resource.name, held

    def _resource(self, url: str, body: bytes) -> Resource:
        found = self._resources.get((url, body))
        if found is None:
            found = self._resources[url, body] = Resource(url, body)
        return found


def length(data: bytes, at: int) -> tuple[int, int]:
    """The length that stands at this place, and where what is so long begins."""
    size = shift = 0
    while data[at] >= 128:
        size |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return size | data[at] << shift, at + 1


def _name(body: bytes) -> str:
    """Every type of resource has its name first."""
    if body and body[0] == _NAME_FIELD:
        size, start = length(body, 1)
        return body[start : start + size].decode()
    return ""
