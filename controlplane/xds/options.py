"""What can be set about the xDS server; seconds and bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


def default_push_throttle(cpus: int | None = None) -> int:
    """Responses planned and written at a time: 15 and 5 per CPU, at most 100."""
    return min(15 + 5 * (cpus or os.cpu_count() or 1), 100)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a session stops waiting for its client."""

    ack_deadline: float = 1.0
    """After this an unanswered response counts as stale, and newer state of its type may be sent."""
    removal_deadline: float = 10.0
    """After this a removed cluster is taken from a client that has not confirmed its new routes."""


@dataclass(frozen=True, slots=True)
class XdsOptions:
    """Settings of the server; the defaults are those of production."""

    pace: Pace = Pace()
    push_throttle: int = field(default_factory=default_push_throttle)
    slot_time: float = 0.02
    """A write that takes longer gives its push slot to others: the client's window is closed."""
    small_write: int = 32 * 1024
    """Bytes up to which a response gives its push slot to others at the next turn of the loop."""
    write_timeout: float = 5.0
    """A write that takes longer is reported as stalled; the stream lives on."""
    streams_per_second: float = 1000.0
    """New streams admitted in a second, evenly; 0 is no limit."""
    admission_wait: float = 1.0
    """A stream that would have to wait longer than this for admission is refused."""
    introduction_timeout: float = 30.0
    """A stream whose first request does not come in this time is ended."""
    handshake_timeout: float = 10.0
    """A connection whose TLS or HTTP/2 beginnings take longer is closed."""
    streams_per_identity: int = 2000
    """Open streams of one service account, all its replicas together; 0 is no limit."""
    visits_per_second: float = 50.0
    """New streams of one service account at one address, in the long run."""
    visits_at_once: int = 2000
    """Such streams at once: a node's worth of proxies that come back together."""
    requests_per_second: float = 200.0
    """Requests that are read from one stream, in the long run; 0 is no limit.  More of them wait, and in the
    end their sender does."""
    request_burst: int = 2000
    """Requests of one stream that are read at once: a proxy of a large mesh comes back with many."""
    most_names: int = 10_000
    """Secrets, and virtual hosts on demand, that one stream may ask for.  The latter are chosen by whoever
    sends a proxy requests; each that is new costs as much as all that are known."""
    reuse_port: bool = False
    """Whether other processes may listen on the same port: the kernel spreads new connections over them."""
    max_streams: int = 100_000
    """On one connection at a time."""
    max_receive: int = 64 * 2**20
    """Bytes of a request; a larger one ends its stream with RESOURCE_EXHAUSTED."""
    keepalive_interval: float = 30.0
    keepalive_timeout: float = 10.0
    min_ping_interval: float = 5.0
    """Clients that ping faster are not disconnected for it (strikes are off), only not encouraged."""
    max_connection_age: float = 0.0
    """Connections are closed at this age, give or take a tenth, to spread proxies anew; 0 is never."""
    max_connection_age_grace: float = 5.0
    body_cache: int = 32 * 2**20
    """Bytes of responses kept for streams that will ask the same."""
