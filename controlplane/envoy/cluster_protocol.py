"""Which HTTP a cluster speaks to its endpoints, and the limits of its HTTP connections."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.http_manners import keep_capitals
from controlplane.mesh.protocols import AUTO, HTTP2_LIKE, HTTP_LIKE
from controlplane.model.duration import SECOND
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, HTTPSettings, KeepaliveSettings
from controlplane.model.kinds.destination_rule import TrafficPolicy

_PING_TIMEOUT = 20 * SECOND
"""How long an answer may take where only the interval of pings is said."""
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def speaks_http2(protocol: str, pool: ConnectionPoolSettings | None, upgrade_default: bool) -> bool:
    """Whether endpoints are spoken to in HTTP/2; an upgrade needs a port that is declared as HTTP."""
    if protocol in HTTP2_LIKE:
        return True
    wanted = _http(pool).h2_upgrade_policy
    return protocol == "HTTP" and (wanted == "UPGRADE" or (wanted == "DEFAULT" and upgrade_default))


def apply_protocol(
    cluster: Any, protocol: str, policy: TrafficPolicy, *, http2: bool, auto_sni: bool = False
) -> None:
    """Write the HTTP options of a cluster; none where Envoy's default, plain HTTP/1.1, is meant."""
    http = _http(policy.connection_pool)
    options = pb.http_protocol_options.HttpProtocolOptions()
    as_client = http.use_client_protocol or (protocol == AUTO and not http2)
    if as_client:
        # Sniffed ports carry what the client speaks; so must the connection behind them.
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        _http2(options.use_downstream_protocol_config.http2_protocol_options, http)
    elif http2:
        _http2(options.explicit_http_config.http2_protocol_options, http)
    plain = not (as_client or http2)
    limited = _common(options.common_http_protocol_options, policy.connection_pool)
    if auto_sni:
        options.upstream_http_protocol_options.auto_sni = True
        options.upstream_http_protocol_options.auto_san_validation = True
    codes = (
        ()
        if policy.outlier_detection is None
        else policy.outlier_detection.outlier_detection_http_error_codes
    )
    if codes:
        _errors(options.outlier_detection.error_matcher, codes)
    if plain:
        if not (limited or auto_sni or codes):
            return
        options.explicit_http_config.http_protocol_options.SetInParent()
    if not limited:
        options.ClearField("common_http_protocol_options")
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pb.pack(options))


def keep_case(cluster: Any, protocol: str) -> None:
    """Names of headers go to the endpoints as they were written, where HTTP/1 is spoken to them."""
    if protocol != AUTO and protocol not in HTTP_LIKE:
        return
    options = pb.http_protocol_options.HttpProtocolOptions()
    if HTTP_OPTIONS in cluster.typed_extension_protocol_options:
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].Unpack(options)
    if options.HasField("use_downstream_protocol_config"):
        keep_capitals(options.use_downstream_protocol_config.http_protocol_options)
    elif not options.explicit_http_config.HasField("http2_protocol_options"):
        keep_capitals(options.explicit_http_config.http_protocol_options)
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pb.pack(options))


_NOTHING = HTTPSettings()


def _http(pool: ConnectionPoolSettings | None) -> HTTPSettings:
    return _NOTHING if pool is None or pool.http is None else pool.http


def _http2(message: Any, http: HTTPSettings) -> None:
    message.SetInParent()
    if http.max_concurrent_streams:
        message.max_concurrent_streams.value = http.max_concurrent_streams
    keepalive = http.http2_keep_alive
    if keepalive is None or keepalive == KeepaliveSettings():
        return
    if keepalive.interval is not None:
        message.connection_keepalive.interval.CopyFrom(pb.duration(keepalive.interval))
    # Envoy refuses the cluster where this is missing.
    timeout = _PING_TIMEOUT if keepalive.timeout is None else keepalive.timeout
    message.connection_keepalive.timeout.CopyFrom(pb.duration(timeout))


def _common(message: Any, pool: ConnectionPoolSettings | None) -> bool:
    """Whether anything was said."""
    http = _http(pool)
    duration = None if pool is None or pool.tcp is None else pool.tcp.max_connection_duration
    if http.idle_timeout is not None:
        message.idle_timeout.CopyFrom(pb.duration(http.idle_timeout))
    if http.max_requests_per_connection:
        message.max_requests_per_connection.value = http.max_requests_per_connection
    if duration is not None:
        message.max_connection_duration.CopyFrom(pb.duration(duration))
    return bool(http.idle_timeout is not None or http.max_requests_per_connection or duration is not None)


def _errors(matcher: Any, codes: tuple[int, ...]) -> None:
    """Match any of these response codes."""
    distinct = sorted(set(codes))
    # Envoy refuses an "or" of fewer than two rules.
    rules = [matcher] if len(distinct) == 1 else [matcher.or_match.rules.add() for _ in distinct]
    for rule, code in zip(rules, distinct, strict=True):
        header = rule.http_response_headers_match.headers.add(name=":status")
        header.string_match.exact = str(code)
