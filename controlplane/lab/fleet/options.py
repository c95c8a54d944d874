"""What a fleet is told at its start, and what it tells: plain values that travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from controlplane.lab.fleet.behaviour import Behaviour
from controlplane.lab.fleet.tls import Tls


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How proxies connect and behave.

    `token` is sent as `authorization: Bearer …`; a Path is read anew for every connection, a mapping
    ("name.namespace" -> token) gives each proxy its own.  `tls` is TLS; None is plaintext.  `backoff` is
    the least and the greatest wait before a proxy whose stream ended comes back, in seconds, fully
    jittered (config.core.v3.BackoffStrategy).
    """

    processes: int = 1
    protocol: Literal["GRPC", "DELTA_GRPC"] = "DELTA_GRPC"
    behaviour: Behaviour = field(default_factory=Behaviour)
    token: str | Path | Mapping[str, str] | None = None
    tls: Tls | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Further request headers, names in lower case."""
    backoff: tuple[float, float] = (0.5, 30.0)
    listeners_after: float = 15.0
    """Seconds after which a new proxy asks for listeners without endpoints: Envoy's initial_fetch_timeout."""
    silence: float | None = None
    """Seconds without an answer after which a proxy that came back with all that it asks for counts as warm,
    since it was last told something: there are servers that do not answer where nothing has changed.  It
    must be longer than the slowest answer."""
    hosts: tuple[str, ...] = ()
    """Virtual hosts that every proxy fetches on demand ("9080/reviews"); incremental variant only."""
    secrets: tuple[str, ...] = ()
    """Secrets that every proxy asks for ("default", "ROOTCA"), once it has clusters."""


class Receipt(NamedTuple):
    """One response that a proxy received; times are monotonic seconds."""

    proxy: str
    """ "name.namespace"."""
    type: str
    """ "cds", "eds", "lds", "rds", "sds" or "vhds"."""
    at: float
    bytes: int
    resources: int
    removed: int
    markers: tuple[int, ...]
    """The change numbers in it that this proxy had not seen in any response before."""
    answered: float | None
    """When the ACK or NACK was handed to the socket; None when the stream ended before."""
    ok: bool = True
    """Accepted, not refused."""


class Ending(NamedTuple):
    """A stream that the fleet did not end itself."""

    proxy: str
    at: float
    reason: str


class Connected(NamedTuple):
    """What connecting took."""

    began: float
    """When the command was given, monotonic seconds."""
    warm: Mapping[str, float]
    """Seconds from then until each proxy had been answered all that it asked for, its secrets included."""
    secured: Mapping[str, float]
    """Seconds from then until each proxy had its secrets; empty where none are asked for."""
    endings: tuple[Ending, ...]
    """Streams that were refused or broken meanwhile."""


class Turn(NamedTuple):
    """A turn of a fleet process's loop that took more than a millisecond: as late may receipts be."""

    process: int
    at: float
    seconds: float
