"""Limits and keepalive of connections to a destination; shared by DestinationRule, Sidecar and MeshConfig."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.duration import SECOND
from controlplane.model.reader import UINT32, Reader


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


def read_connection_pool(r: Reader) -> ConnectionPoolSettings:
    """ConnectionPoolSettings."""
    if not (r.has("tcp") or r.has("http")):
        r.error("", "says nothing", "say tcp, http or both, or remove it")
    return ConnectionPoolSettings(tcp=r.message("tcp", _read_tcp), http=r.message("http", _read_http))


def read_keepalive(r: Reader) -> TcpKeepalive:
    """TcpKeepalive."""
    found = TcpKeepalive(
        probes=r.count("probes", UINT32), time=r.duration("time"), interval=r.duration("interval")
    )
    for name, length in (("time", found.time), ("interval", found.interval)):
        if length is not None and length > UINT32 * SECOND:
            r.error(name, "is too long", f"use at most {UINT32}s: proxies count these seconds in 32 bits")
    return found


def _read_tcp(r: Reader) -> TCPSettings:
    return TCPSettings(
        max_connections=r.count("maxConnections"),
        connect_timeout=r.duration("connectTimeout"),
        tcp_keepalive=r.message("tcpKeepalive", read_keepalive),
        max_connection_duration=r.duration("maxConnectionDuration"),
        # 0 switches this timeout off, so it is allowed here.
        idle_timeout=r.duration("idleTimeout", 0),
    )


def _read_http(r: Reader) -> HTTPSettings:
    settings = HTTPSettings(
        http1_max_pending_requests=r.count("http1MaxPendingRequests"),
        http2_max_requests=r.count("http2MaxRequests"),
        max_requests_per_connection=r.count("maxRequestsPerConnection"),
        max_retries=r.count("maxRetries"),
        idle_timeout=r.duration("idleTimeout"),
        h2_upgrade_policy=r.enum("h2UpgradePolicy", ("DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"), "DEFAULT"),
        use_client_protocol=r.boolean("useClientProtocol"),
        max_concurrent_streams=r.count("maxConcurrentStreams"),
        http2_keep_alive=r.message("http2KeepAlive", _read_http2_keepalive),
    )
    if settings.use_client_protocol and settings.h2_upgrade_policy == "UPGRADE":
        r.error("useClientProtocol", "excludes h2UpgradePolicy: UPGRADE", "keep one of them")
    return settings


def _read_http2_keepalive(r: Reader) -> KeepaliveSettings:
    return KeepaliveSettings(interval=r.duration("interval"), timeout=r.duration("timeout"))
