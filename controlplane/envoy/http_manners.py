"""How an HTTP connection manager behaves: what it makes of paths, whom it believes, which headers it writes.

Most of it is the same everywhere in a mesh; what an operator says otherwise is in the chain's `manners`.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain
from controlplane.model.kinds.proxy_manners import ConnectionSettings

_USUAL = ("subject", "dns", "uri")
_CAPITALS = "envoy.http.stateful_header_formatters.preserve_case"


def behave(message: Any, where: Chain) -> None:
    """Write all that into a HttpConnectionManager."""
    _normalize_paths(message, where.paths)
    _set_side(message, where)
    headers = where.manners.headers
    message.generate_request_id.value = headers.request_id
    message.append_x_forwarded_port = headers.forwarded_port
    if headers.case:
        keep_capitals(message.http_protocol_options)
    _treat_connections(message, where.manners.connections)


def keep_capitals(options: Any) -> None:
    """Names of headers are passed on as they were written, of HTTP/1."""
    formatter = options.header_key_format.stateful_formatter
    formatter.name = _CAPITALS
    formatter.typed_config.CopyFrom(pb.pack(pb.preserve_case.PreserveCaseFormatterConfig()))


def _normalize_paths(message: Any, how: str) -> None:
    """Before policies and routes look at a path: they should see what the application will make of it."""
    escaped = pb.hcm.HttpConnectionManager.PathWithEscapedSlashesAction
    message.normalize_path.value = how != "NONE"
    message.merge_slashes = how in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
    message.path_with_escaped_slashes_action = (
        escaped.UNESCAPE_AND_FORWARD if how == "DECODE_AND_MERGE_SLASHES" else escaped.KEEP_UNCHANGED
    )


def _set_side(message: Any, where: Chain) -> None:
    """What an HTTP connection manager thinks of those who call it."""
    manager = pb.hcm.HttpConnectionManager
    headers = where.manners.headers
    if where.side == "outbound":
        message.use_remote_address.value = False
        # What the other side says is passed on as it is: the sidecar is no server of its own.
        message.server_header_transformation = manager.PASS_THROUGH
        return
    if headers.server:
        message.server_name = headers.server
    else:
        message.server_header_transformation = manager.PASS_THROUGH
    gateway = where.side == "gateway"
    usual = (*_USUAL, "cert") if gateway else _USUAL
    parts = {**dict.fromkeys(usual, True), **dict(headers.client_cert)}
    _show_certificate(message.set_current_client_cert_details, {part for part in parts if parts[part]})
    forwarded = headers.forwarded_client_cert
    if gateway:
        # Whoever calls from outside the mesh is believed nothing but his address and his certificate, unless
        # the operator says that others stand in between.
        forwarded = where.topology.forward_client_cert_details
        message.xff_num_trusted_hops = where.topology.num_trusted_proxies
        message.use_remote_address.value = True
    message.forward_client_cert_details = manager.ForwardClientCertDetails.Value(forwarded)


def _show_certificate(details: Any, parts: set[str]) -> None:
    details.subject.value = "subject" in parts
    details.cert, details.chain = "cert" in parts, "chain" in parts
    details.dns, details.uri = "dns" in parts, "uri" in parts


def _treat_connections(message: Any, said: ConnectionSettings) -> None:
    """Timeouts, HTTP/2's windows and what looks suspicious; what is not said stays as it is."""
    common = message.common_http_protocol_options
    for holder, field, length in (
        (common, "idle_timeout", said.idle_timeout),
        (common, "max_connection_duration", said.max_connection_duration),
        (common, "max_stream_duration", said.max_stream_duration),
        (message, "drain_timeout", said.drain_timeout),
        (message, "request_timeout", said.request_timeout),
        (message, "request_headers_timeout", said.request_headers_timeout),
        (message, "stream_idle_timeout", said.stream_idle_timeout),
    ):
        if length is not None:
            getattr(holder, field).CopyFrom(pb.duration(length))
    if said.max_concurrent_streams is not None:
        message.http2_protocol_options.max_concurrent_streams.value = said.max_concurrent_streams
    if said.stream_window is not None:
        message.http2_protocol_options.initial_stream_window_size.value = said.stream_window
    if said.connection_window is not None:
        message.http2_protocol_options.initial_connection_window_size.value = said.connection_window
    if said.underscores is not None:
        actions = pb.protocol.HttpProtocolOptions.HeadersWithUnderscoresAction
        common.headers_with_underscores_action = actions.Value(said.underscores)
    if said.merge_slashes is not None:
        message.merge_slashes = said.merge_slashes
    if said.escaped_slashes is not None:
        escaped = pb.hcm.HttpConnectionManager.PathWithEscapedSlashesAction
        message.path_with_escaped_slashes_action = escaped.Value(said.escaped_slashes)
