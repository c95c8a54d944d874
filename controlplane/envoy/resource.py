"""A resource as bytes: serialized once, framed once (if it is small), shared by every stream that sends it.

Equality is that of type, name and body, so the graph keeps the old object when a rebuild yields the
same bytes.  The version is a hash of the body: equal across restarts and replicas, which lets a
reconnecting delta Envoy keep what it has.

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
_DELTA_VERSION, _DELTA_RESOURCE, _DELTA_NAME = 1, 2, 3
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
    _version: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _sotw: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)
    _delta: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def version(self) -> str:
        """Sixteen hexadecimal digits, a hash of the body."""
        if not self._version:
            self._version.append(blake2b(self.body, digest_size=8).hexdigest())
        return self._version[0]

    @property
    def sotw_frame(self) -> bytes:
        """This resource as one element of DiscoveryResponse.resources."""
        if self._sotw:
            return self._sotw[0]
        frame = wire.length_delimited(_RESPONSE_RESOURCES, self._any())
        if len(self.body) <= _KEPT:
            self._sotw.append(frame)
        return frame

    @property
    def delta_frame(self) -> bytes:
        """This resource as one element of DeltaDiscoveryResponse.resources."""
        if self._delta:
            return self._delta[0]
        inner = b"".join(
            (
                wire.string(_DELTA_VERSION, self.version),
                wire.length_delimited(_DELTA_RESOURCE, self._any()),
                wire.string(_DELTA_NAME, self.name),
            )
        )
        frame = wire.length_delimited(_RESPONSE_RESOURCES, inner)
        if len(self.body) <= _KEPT:
            self._delta.append(frame)
        return frame

    def _any(self) -> bytes:
        return wire.string(_ANY_TYPE_URL, self.type_url) + (
            wire.length_delimited(_ANY_VALUE, self.body) if self.body else b""
        )


def resource(type_url: str, name: str, message: pb.Message, refs: Iterable[str] = ()) -> Resource:
    """The resource that carries `message`; serialization is deterministic."""
    return Resource(type_url, name, pb.deterministic(message), tuple(refs))
