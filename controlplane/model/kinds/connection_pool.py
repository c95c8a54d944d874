"""Limits and keepalive of connections to a destination; shared by DestinationRule, Sidecar and MeshConfig."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TcpKeepalive:
    """TCP keepalive; `time` and `interval` in nanoseconds, None = the system's default."""

    probes: int | None = None
    time: int | None = None
    interval: int | None = None


@dataclass(frozen=True, slots=True)
class TCPSettings:
    """Durations in nanoseconds; `max_connections` None = no limit."""

    max_connections: int | None = None
    connect_timeout: int | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: int | None = None
    idle_timeout: int | None = None


@dataclass(frozen=True, slots=True)
class KeepaliveSettings:
    """HTTP/2 pings; nanoseconds."""

    interval: int | None = None
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class HTTPSettings:
    """Limits are None where not given or 0; `h2_upgrade_policy` is DEFAULT, DO_NOT_UPGRADE or UPGRADE."""

    http1_max_pending_requests: int | None = None
    http2_max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    idle_timeout: int | None = None
    h2_upgrade_policy: str = "DEFAULT"
    use_client_protocol: bool = False
    max_concurrent_streams: int | None = None
    http2_keep_alive: KeepaliveSettings | None = None


@dataclass(frozen=True, slots=True)
class ConnectionPoolSettings:
    """Settings for TCP and, on top, for HTTP connections."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None
