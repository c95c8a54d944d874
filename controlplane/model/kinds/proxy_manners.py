"""How proxies behave towards those who call them: ProxyConfig's proxyHeaders and connectionSettings.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
https://istio.io/latest/docs/ops/configuration/traffic-management/edge-proxy/
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from controlplane.model.checks import check_lines
from controlplane.model.duration import SECOND
from controlplane.model.kinds.gateway_topology import CLIENT_CERTIFICATES
from controlplane.model.reader import Reader

SERVER = "istio-envoy"
_PARTS = ("subject", "cert", "chain", "dns", "uri")
_UNDERSCORES = "HEADERS_WITH_UNDERSCORES_"
_ACTIONS = ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
_ESCAPED = ("KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
_MOST = 2**31 - 1
_SMALLEST_WINDOW = 65535


@dataclass(frozen=True, slots=True)
class ProxyHeaders:
    """Headers that proxies write of themselves.

    `forwarded_client_cert` is what a sidecar makes of X-Forwarded-Client-Cert.  `client_cert`: which parts of
    a certificate are put there, and which are not; the others are as usual.  `server`: what a proxy calls
    itself where it answers, "" = what the application says is passed on.  `debug`: headers that begin with
    x-envoy.  `case`: names of headers keep their capitals in HTTP/1.
    """

    forwarded_client_cert: str = "APPEND_FORWARD"
    client_cert: tuple[tuple[str, bool], ...] = ()
    server: str = SERVER
    request_id: bool = True
    attempt_count: bool = True
    debug: bool = True
    case: bool = False
    forwarded_host: bool = False
    forwarded_port: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How proxies treat connections; None = Envoy's way, or what is said elsewhere.

    Durations in nanoseconds, sizes in bytes.  `underscores` is ALLOW, REJECT_REQUEST or DROP_HEADER;
    `escaped_slashes` one of Envoy's PathWithEscapedSlashesAction.  `profile` is SIDECAR or EDGE.
    """

    listener_buffer: int | None = None
    cluster_buffer: int | None = None
    idle_timeout: int | None = None
    max_connection_duration: int | None = None
    drain_timeout: int | None = None
    request_timeout: int | None = None
    request_headers_timeout: int | None = None
    stream_idle_timeout: int | None = None
    max_stream_duration: int | None = None
    max_concurrent_streams: int | None = None
    stream_window: int | None = None
    connection_window: int | None = None
    underscores: str | None = None
    merge_slashes: bool | None = None
    escaped_slashes: str | None = None
    profile: str | None = None


EDGE = ConnectionSettings(
    listener_buffer=32 << 10,
    cluster_buffer=32 << 10,
    idle_timeout=3600 * SECOND,
    request_timeout=300 * SECOND,
    request_headers_timeout=60 * SECOND,
    stream_idle_timeout=300 * SECOND,
    max_concurrent_streams=100,
    stream_window=64 << 10,
    connection_window=1 << 20,
    underscores="REJECT_REQUEST",
    merge_slashes=True,
    escaped_slashes="UNESCAPE_AND_REDIRECT",
)
"""The profile for proxies that strangers call, as Envoy recommends it."""


class Manners(NamedTuple):
    """Both together."""

    headers: ProxyHeaders = ProxyHeaders()
    connections: ConnectionSettings = ConnectionSettings()


def read_headers(r: Reader) -> ProxyHeaders:
    """A ProxyHeaders."""
    said = r.enum("forwardedClientCert", ("UNDEFINED", *CLIENT_CERTIFICATES), "UNDEFINED")
    server = r.message("server", _read_server)
    # They are never sent here, to whomever it is.
    r.message("metadataExchangeHeaders", _read_exchange)
    return ProxyHeaders(
        forwarded_client_cert="APPEND_FORWARD" if said == "UNDEFINED" else said,
        client_cert=r.message("setCurrentClientCertDetails", _read_parts) or (),
        server=SERVER if server is None else server,
        request_id=not r.message("requestId", _disabled),
        attempt_count=not r.message("attemptCount", _disabled),
        debug=not r.message("envoyDebugHeaders", _disabled),
        case=r.boolean("preserveHttp1HeaderCase"),
        forwarded_host=r.message("xForwardedHost", _enabled) or False,
        forwarded_port=r.message("xForwardedPort", _enabled) or False,
    )


def _disabled(r: Reader) -> bool:
    return r.boolean("disabled")


def _enabled(r: Reader) -> bool:
    return r.boolean("enabled")


def _read_exchange(r: Reader) -> str:
    return r.enum("mode", ("UNDEFINED", "IN_MESH"), "UNDEFINED")


def _read_server(r: Reader) -> str:
    disabled, value = r.boolean("disabled"), r.text("value")
    check_lines(r, value=value)
    return "" if disabled else value or SERVER


def _read_parts(r: Reader) -> tuple[tuple[str, bool], ...]:
    said = [(part, r.optional_boolean(part)) for part in _PARTS]
    return tuple((part, wanted) for part, wanted in said if wanted is not None)


def read_connections(r: Reader) -> ConnectionSettings:
    """A ConnectionSettings, as it is said."""
    found = ConnectionSettings(
        listener_buffer=r.integer("listenerPerConnectionBufferLimitBytes", 1, _MOST),
        cluster_buffer=r.integer("clusterPerConnectionBufferLimitBytes", 1, _MOST),
        idle_timeout=r.duration("httpIdleTimeout", 0),
        max_connection_duration=r.duration("httpMaxConnectionDuration", 0),
        drain_timeout=r.duration("httpDrainTimeout", 0),
        request_timeout=r.duration("httpRequestTimeout", 0),
        request_headers_timeout=r.duration("httpRequestHeadersTimeout", 0),
        stream_idle_timeout=r.duration("httpStreamIdleTimeout", 0),
        max_stream_duration=r.duration("httpMaxStreamDuration", 0),
        max_concurrent_streams=r.integer("httpMaxConcurrentStreams", 1, _MOST),
        stream_window=r.integer("http2InitialStreamWindowSize", _SMALLEST_WINDOW, _MOST),
        connection_window=r.integer("http2InitialConnectionWindowSize", _SMALLEST_WINDOW, _MOST),
        underscores=_read_word(r, "httpHeadersWithUnderscoresAction", _UNDERSCORES, _ACTIONS),
        merge_slashes=r.optional_boolean("httpMergeSlashes"),
        escaped_slashes=_read_word(r, "httpPathWithEscapedSlashesAction", "", _ESCAPED),
        profile=r.choice("profile", ("SIDECAR", "EDGE")),
    )
    for name in ("listenerConnectionLimit", "globalDownstreamConnectionLimit"):
        if r.value(name) is not None:
            why = "has no effect: Envoy has to know it before it starts"
            r.warn(name, why, "add the overload manager's resource monitor, or runtime, to the bootstrap")
    return found


def settled(*said: ConnectionSettings) -> ConnectionSettings:
    """What holds where several speak, the later ones before the earlier, and all before the profile."""
    profile = next((one.profile for one in reversed(said) if one.profile is not None), None)
    found = EDGE if profile == "EDGE" else ConnectionSettings()
    for one in said:
        values = ((part.name, getattr(one, part.name)) for part in fields(one))
        found = replace(found, **{name: value for name, value in values if value is not None})
    return replace(found, profile=None)


def _read_word(r: Reader, name: str, prefix: str, words: tuple[str, ...]) -> str | None:
    unspecified = f"{prefix or 'PATH_WITH_ESCAPED_SLASHES_ACTION_'}UNSPECIFIED"
    found = r.enum(name, (unspecified, *(prefix + word for word in words)), unspecified)
    return None if found == unspecified else found.removeprefix(prefix)
