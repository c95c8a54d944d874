"""Access logs to a file, as MeshConfig asks for them.

The default text format is Istio's, field by field: people and log pipelines parse it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.graph import Q, query
from controlplane.mesh.settings import mesh_config

_FIELDS = (
    ("start_time", "[%START_TIME%]", "%START_TIME%"),
    ("method", '"%REQ(:METHOD)%', "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", '%PROTOCOL%"', "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    (
        "upstream_transport_failure_reason",
        '"%UPSTREAM_TRANSPORT_FAILURE_REASON%"',
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%", "%BYTES_SENT%"),
    ("duration", "%DURATION%", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", '"%REQ(X-FORWARDED-FOR)%"', "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", '"%REQ(USER-AGENT)%"', "%REQ(USER-AGENT)%"),
    ("request_id", '"%REQ(X-REQUEST-ID)%"', "%REQ(X-REQUEST-ID)%"),
    ("authority", '"%REQ(:AUTHORITY)%"', "%REQ(:AUTHORITY)%"),
    ("upstream_host", '"%UPSTREAM_HOST%"', "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%", "%ROUTE_NAME%"),
)
"""(JSON key, how the text format writes it, the operator)."""

DEFAULT_TEXT = " ".join(text for _, text, _ in _FIELDS) + "\n"
DEFAULT_JSON: dict[str, object] = {key: operator for key, _, operator in _FIELDS}


class AccessLog(NamedTuple):
    """Where and how to log; `format` "" = the default of the encoding, TEXT or JSON.

    `refusals`: listeners log the connections that no filter chain took.
    """

    path: str
    format: str
    encoding: str
    refusals: bool = True


@query
def access_log(q: Q) -> AccessLog | None:
    """The mesh's access log; None while it has none.  Listeners depend on this and not on MeshConfig."""
    config = q(mesh_config)
    if not config.access_log_file:
        return None
    refusals = not config.disable_envoy_listener_log
    return AccessLog(config.access_log_file, config.access_log_format, config.access_log_encoding, refusals)


def access_logs(log: AccessLog | None) -> list[Any]:
    """The `access_log` of an HTTP connection manager or TCP proxy."""
    return [] if log is None else [_logger(log)]


def refusal_logs(log: AccessLog | None) -> list[Any]:
    """The `access_log` of a listener: only connections that no filter chain took."""
    if log is None or not log.refusals:
        return []
    logger = _logger(log)
    logger.filter.response_flag_filter.flags.append("NR")
    return [logger]


def _logger(log: AccessLog) -> Any:
    file = pb.file_access_log.FileAccessLog(path=log.path)
    if log.encoding == "JSON":
        file.log_format.json_format.update(_json_format(log.format))
    else:
        file.log_format.text_format_source.inline_string = log.format or DEFAULT_TEXT
    return pb.accesslog.AccessLog(name="envoy.access_loggers.file", typed_config=pb.pack(file))


def _json_format(text: str) -> dict[str, object]:
    """The object that MeshConfig gives as text; the default where it is none."""
    try:
        parsed = json.loads(text) if text else DEFAULT_JSON
    except ValueError:
        return DEFAULT_JSON
    return parsed if isinstance(parsed, dict) else DEFAULT_JSON
