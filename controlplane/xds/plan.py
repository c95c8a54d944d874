"""One response, and all that decides what is in it: the values between a subscription and its bytes.

How the one follows from the other is told in `difference`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from controlplane.envoy.resource import Resource
from controlplane.xds.ledger import Change, Checkpoint
from controlplane.xds.names import Interest
from controlplane.xds.variant import Variant


def unknown(type_url: str, name: str) -> Resource:
    """Stands for a version that the client has from an earlier stream, whose bytes we do not have."""
    return Resource(type_url, name, b"")


class Rejection(NamedTuple):
    """A version that this client refused, and what it has instead."""

    version: str
    good: Resource | None
    """What it accepted before: None when it has no such resource; without a body when it is unknown."""
    error: str


class Leaving(NamedTuple):
    """A resource that is gone from the feed while the client still has it."""

    resource: Resource
    since: int
    """The session's moment at which that was noticed."""
    until: float
    """When waiting ends, in monotonic seconds."""


def has(refusal: Rejection | None, sent: Resource | None) -> Resource | None:
    """What a client has of a resource that it was sent, given what it refused."""
    if refusal is None or sent is None or refusal.version != sent.version:
        return sent
    return refusal.good


class Exceptions(NamedTuple):
    """Where one client's target differs from the feed; all empty for nearly every client."""

    rejected: tuple[tuple[str, Rejection], ...] = ()
    leaving: tuple[tuple[str, Resource], ...] = ()
    """Gone from the feed, not yet to be taken from the client."""
    drop: tuple[str, ...] = ()
    """Of those in `leaving`, what is to be taken now."""


NO_EXCEPTIONS = Exceptions()


class Ask(NamedTuple):
    """Everything that makes two streams' responses differ when their ledger is the same."""

    variant: Variant
    since: Checkpoint | None
    """What the client was sent last; None when it has nothing of the wildcard."""
    interest: Interest
    owed: frozenset[str]
    """To be sent by name, whether or not they changed."""
    fresh: frozenset[str]
    """Of those owed: what the client asks for the first time, and so does not have."""
    echo: frozenset[str]
    """Unchanged, but Envoy waits for them because what points at them changed."""
    exceptions: Exceptions = NO_EXCEPTIONS


@dataclass(slots=True, eq=False, weakref_slot=True)
class Body:
    """The bytes of a response, nonce included."""

    data: bytes


@dataclass(slots=True, eq=False, weakref_slot=True)
class Plan:
    """One response, shared by all streams that need it; treat as immutable."""

    type_url: str
    variant: Variant
    upserts: tuple[Resource, ...]
    removed: tuple[str, ...]
    news: tuple[Change, ...]
    """What in it the client does not have, with what it has instead: the suspects of a NACK."""
    withheld: tuple[Change, ...]
    """Removals left out because they have to wait."""
    refs: frozenset[str]
    """Names of the next type that Envoy wants again because of the news."""
    echoes: int
    stood_in: frozenset[str]
    """Names sent with last good bytes in place of rejected ones, or as missing."""
    due: bool
    """Whether there is anything to say; a plan that is not due is sent only as an answer."""
    unanswered: frozenset[str] = frozenset()
    """Names that are taken from a client which may wait for them: the next response answers that."""
    pieces: tuple[Plan, ...] = ()
    """Plans that this one consists of, which other responses share."""
    body: Body | None = field(default=None, repr=False)
    introduced: Body | None = field(default=None, repr=False)
    """The same, for streams that we tell who we are: the first response of each type."""
    _version: str = ""
    _frames: bytes = b""

    @property
    def adds(self) -> bool:
        """Whether the client gets names that it did not have."""
        return any(change.old is None and change.new is not None for change in self.news)

    @property
    def version(self) -> str:
        """A hash of the content: equal for equal responses of any stream, replica or restart."""
        if not self._version:
            digest = blake2b(digest_size=8)
            if self.pieces:
                digest.update("\n".join(piece.version for piece in self.pieces).encode())
            else:
                digest.update("\n".join(f"{one.name}={one.version}" for one in self.upserts).encode())
                digest.update("\n-".join(("", *self.removed)).encode())
            self._version = digest.hexdigest()
        return self._version

    def frames(self) -> list[bytes]:
        """The resources as they stand in a response, to be joined."""
        if self.pieces:
            return [piece.kept_frames() for piece in self.pieces]
        if self.variant is Variant.SOTW:
            return [part for one in self.upserts for part in one.sotw_pieces()]
        return [part for one in self.upserts for part in one.delta_pieces()]

    def kept_frames(self) -> bytes:
        """As `frames`, joined once, for responses that are made of pieces."""
        if not self._frames:
            self._frames = b"".join(self.frames())
        return self._frames
