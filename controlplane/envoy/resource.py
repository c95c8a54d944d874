"""A resource as bytes: serialized once, framed once (if it is small), shared by every stream that sends it.

Equality is that of type, name and body, so the graph keeps the old object when a rebuild yields the
same bytes.  The version is a hash of the body: equal across restarts and replicas, which lets a
reconnecting delta Envoy keep what it has.  What holds a private key is given a version instead: versions
are shown everywhere, and nothing that is made from a key may be.

Frames are the parts of a response, ready to be joined: each is one element of the response's
repeated field `resources`, tag and length included
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from controlplane.base import wire
from controlplane.envoy import pb

_ANY_TYPE_URL, _ANY_VALUE = 1, 2
_RESPONSE_RESOURCES = 2
_DELTA_VERSION, _DELTA_RESOURCE, _DELTA_NAME, _DELTA_ALIASES = 1, 2, 3, 4
_KEPT = 16 * 1024
"""Bytes of a body up to which its frames are kept.  Framing a large one is little beside sending it, and the
route configuration of a large mesh would be held twice for every namespace."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One named xDS resource: `body` is the serialized message, `refs` are names of the next type."""

    type_url: str
    name: str
    body: bytes = field(repr=False)
    refs: tuple[str, ...] = field(default=(), compare=False)
    """EDS names of a cluster, RDS names of a listener: what Envoy wants again when this changes."""
    missing: bool = False
    """It says that there is no resource of this name, to a client that waits for an answer."""
    given: str = field(default="", compare=False)
    """A version of its own, of which no two bodies may have the same."""
    _version: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _sotw: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)
    _delta: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def version(self) -> str:
        """The version that it was given; otherwise sixteen hexadecimal digits, a hash of the body."""
        if self.given:
            return self.given
        if not self._version:
            self._version.append(blake2b(self.body, digest_size=8).hexdigest())
        return self._version[0]

    @property
    def sotw_frame(self) -> bytes:
        """This resource as one element of DiscoveryResponse.resources."""
        if self._sotw:
            return self._sotw[0]
        frame = b"".join(self._sotw_parts())
        if len(self.body) <= _KEPT:
            self._sotw.append(frame)
        return frame

    @property
    def delta_frame(self) -> bytes:
        """This resource as one element of DeltaDiscoveryResponse.resources."""
        if self._delta:
            return self._delta[0]
        frame = b"".join(self._delta_parts())
        if len(self.body) <= _KEPT:
            self._delta.append(frame)
        return frame

    def sotw_pieces(self) -> tuple[bytes, ...]:
        """What the frame is joined from: to be joined with others without copying a large body twice."""
        return (self.sotw_frame,) if len(self.body) <= _KEPT else self._sotw_parts()

    def delta_pieces(self) -> tuple[bytes, ...]:
        """See `sotw_pieces`."""
        return (self.delta_frame,) if len(self.body) <= _KEPT else self._delta_parts()

    def _sotw_parts(self) -> tuple[bytes, ...]:
        before = self._before_body()
        return wire.header(_RESPONSE_RESOURCES, len(before) + len(self.body)) + before, self.body

    def _delta_parts(self) -> tuple[bytes, ...]:
        if self.missing:
            return (self._missing(),)
        inner = self._before_body()
        before = b"".join(
            (
                wire.string(_DELTA_VERSION, self.version),
                wire.header(_DELTA_RESOURCE, len(inner) + len(self.body)),
                inner,
            )
        )
        after = wire.string(_DELTA_NAME, self.name)
        size = len(before) + len(self.body) + len(after)
        return wire.header(_RESPONSE_RESOURCES, size) + before, self.body, after

    def _missing(self) -> bytes:
        """A name without a resource; to Envoy it is an answer only if the name is an alias as well."""
        names = wire.string(_DELTA_NAME, self.name) + wire.string(_DELTA_ALIASES, self.name)
        return wire.length_delimited(_RESPONSE_RESOURCES, names)

    def _before_body(self) -> bytes:
        """What stands before the body in an Any."""
        value = wire.header(_ANY_VALUE, len(self.body)) if self.body else b""
        return wire.string(_ANY_TYPE_URL, self.type_url) + value


def resource(type_url: str, name: str, message: pb.Message, refs: Iterable[str] = ()) -> Resource:
    """The resource that carries `message`; serialization is deterministic."""
    return Resource(type_url, name, pb.deterministic(message), tuple(refs))
