"""Envoy's messages: the one place that imports the generated stubs.

Everything above speaks of `pb.cluster.Cluster` or `pb.route.Route` and neither knows in which of
Envoy's many files a message is declared nor how the stubs were made.  Importing a module here also
registers its types, which decoding an `Any` as JSON needs (golden files, config dumps).

The stubs carry no type information; their attributes are `Any` to the type checker.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2 as accesslog
from envoy.config.cluster.v3 import circuit_breaker_pb2 as circuit_breaker
from envoy.config.cluster.v3 import cluster_pb2 as cluster
from envoy.config.cluster.v3 import outlier_detection_pb2 as outlier_detection
from envoy.config.common.matcher.v3 import matcher_pb2 as match_predicate
from envoy.config.core.v3 import address_pb2 as address
from envoy.config.core.v3 import base_pb2 as base
from envoy.config.core.v3 import config_source_pb2 as config_source
from envoy.config.core.v3 import extension_pb2 as extension
from envoy.config.core.v3 import grpc_service_pb2 as grpc_service
from envoy.config.core.v3 import health_check_pb2 as health_check
from envoy.config.core.v3 import protocol_pb2 as protocol
from envoy.config.core.v3 import proxy_protocol_pb2 as proxy_protocol
from envoy.config.core.v3 import substitution_format_string_pb2 as format_string
from envoy.config.endpoint.v3 import endpoint_components_pb2 as endpoint_components
from envoy.config.endpoint.v3 import endpoint_pb2 as endpoint
from envoy.config.listener.v3 import listener_components_pb2 as listener_components
from envoy.config.listener.v3 import listener_pb2 as listener
from envoy.config.rbac.v3 import rbac_pb2 as rbac
from envoy.config.route.v3 import route_components_pb2 as route_components
from envoy.config.route.v3 import route_pb2 as route
from envoy.data.dns.v3 import dns_table_pb2 as dns_table
from envoy.extensions.access_loggers.file.v3 import file_pb2 as file_access_log
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as dynamic_cluster
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2 as dynamic_dns_cache
from envoy.extensions.filters.common.fault.v3 import fault_pb2 as fault_common
from envoy.extensions.filters.http.cors.v3 import cors_pb2 as cors
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import (
    dynamic_forward_proxy_pb2 as http_dynamic_forward_proxy,
)
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2 as http_ext_authz
from envoy.extensions.filters.http.fault.v3 import fault_pb2 as fault
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats
from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2 as grpc_web
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2 as health_check_filter
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_authn
from envoy.extensions.filters.http.on_demand.v3 import on_demand_pb2 as on_demand
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.http.router.v3 import router_pb2 as router
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2 as http_inspector
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2 as original_dst
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2 as original_src
from envoy.extensions.filters.listener.proxy_protocol.v3 import (
    proxy_protocol_pb2 as proxy_protocol_listener,
)
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as tls_inspector
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm
from envoy.extensions.filters.network.mongo_proxy.v3 import mongo_proxy_pb2 as mongo_proxy
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from envoy.extensions.filters.network.redis_proxy.v3 import redis_proxy_pb2 as redis_proxy
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2 as set_filter_state
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2 as sni_dynamic_forward_proxy,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as tcp_proxy
from envoy.extensions.filters.udp.dns_filter.v3 import dns_filter_pb2 as dns_filter
from envoy.extensions.http.header_formatters.preserve_case.v3 import preserve_case_pb2 as preserve_case
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2 as least_request
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2 as cares
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2 as uri_template
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as previous_hosts
from envoy.extensions.retry.priority.previous_priorities.v3 import (
    previous_priorities_config_pb2 as previous_priorities,
)
from envoy.extensions.transport_sockets.proxy_protocol.v3 import (
    upstream_proxy_protocol_pb2 as upstream_proxy_protocol,
)
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2 as raw_buffer
from envoy.extensions.transport_sockets.tls.v3 import common_pb2 as tls_common
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2 as secret
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as tls
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as http_protocol_options
from envoy.service.discovery.v3 import discovery_pb2 as discovery
from envoy.type.matcher.v3 import metadata_pb2 as metadata_matcher
from envoy.type.matcher.v3 import path_pb2 as path_matcher
from envoy.type.matcher.v3 import regex_pb2 as regex
from envoy.type.matcher.v3 import string_pb2 as string_matcher
from envoy.type.matcher.v3 import value_pb2 as value_matcher
from envoy.type.v3 import percent_pb2 as percent
from envoy.type.v3 import range_pb2 as ranges
from google.protobuf import (
    any_pb2,
    descriptor_pool,
    duration_pb2,
    json_format,
    message_factory,
    struct_pb2,
    wrappers_pb2,
)
from google.protobuf.message import DecodeError, Message

__all__ = [
    "TYPE_PREFIX",
    "Message",
    "accesslog",
    "address",
    "any_pb2",
    "base",
    "cares",
    "circuit_breaker",
    "cluster",
    "config_source",
    "cors",
    "deterministic",
    "discovery",
    "dns_filter",
    "dns_table",
    "duration",
    "duration_pb2",
    "dynamic_cluster",
    "dynamic_dns_cache",
    "endpoint",
    "endpoint_components",
    "extension",
    "fault",
    "fault_common",
    "file_access_log",
    "find",
    "format_string",
    "from_dump",
    "from_json",
    "grpc_service",
    "grpc_stats",
    "grpc_web",
    "hcm",
    "health_check",
    "health_check_filter",
    "http_dynamic_forward_proxy",
    "http_ext_authz",
    "http_inspector",
    "http_protocol_options",
    "http_rbac",
    "jwt_authn",
    "least_request",
    "listener",
    "listener_components",
    "match_predicate",
    "message_class",
    "metadata_matcher",
    "mongo_proxy",
    "network_ext_authz",
    "network_rbac",
    "on_demand",
    "original_dst",
    "original_src",
    "outlier_detection",
    "pack",
    "path_matcher",
    "percent",
    "preserve_case",
    "previous_hosts",
    "previous_priorities",
    "protocol",
    "proxy_protocol",
    "proxy_protocol_listener",
    "ranges",
    "raw_buffer",
    "rbac",
    "redis_proxy",
    "regex",
    "route",
    "route_components",
    "router",
    "secret",
    "set_filter_state",
    "sni_dynamic_forward_proxy",
    "string_matcher",
    "struct_pb2",
    "tcp_proxy",
    "tls",
    "tls_common",
    "tls_inspector",
    "unpack",
    "upstream_proxy_protocol",
    "uri_template",
    "value_matcher",
    "wrappers_pb2",
]

TYPE_PREFIX = "type.googleapis.com/"


def deterministic(message: Message) -> bytes:
    """The bytes of a message, equal for equal messages: maps are written in key order."""
    return message.SerializeToString(deterministic=True)


def pack(message: Message) -> any_pb2.Any:
    """The message as an `Any` with Envoy's type URL; its bytes are deterministic too."""
    return any_pb2.Any(type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name, value=deterministic(message))


def duration(nanoseconds: int) -> duration_pb2.Duration:
    """A protobuf Duration of so many nanoseconds (never negative)."""
    return duration_pb2.Duration(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


def parse(type_url: str, body: bytes) -> Message:
    """The message of this type; KeyError when the type's stub is not imported here."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(type_url.removeprefix(TYPE_PREFIX))
    return message_factory.GetMessageClass(descriptor).FromString(body)


_PACKAGE = re.compile(r"(?:envoy|xds|udpa)(?:\.[a-z][a-z0-9_]*)+")
_STUB = "_pb2"


def find(name: str) -> Any | None:
    """The descriptor of a message by its full name, also of one that nothing here uses; None: there is none.

    A message's package is the folder of its stub.
    """
    pool = descriptor_pool.Default()
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        package = name.rpartition(".")[0]
    if not _PACKAGE.fullmatch(package):
        return None
    try:
        folder = importlib.import_module(package)
    except ModuleNotFoundError:
        return None
    for module in pkgutil.iter_modules(getattr(folder, "__path__", ())):
        if module.name.endswith(_STUB):
            importlib.import_module(f"{package}.{module.name}")
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        return None


def from_json(kind: Any, content: dict[str, Any]) -> Any:
    """The message of this class that a JSON mapping stands for; ValueError says why there is none."""
    try:
        return json_format.ParseDict(content, kind())
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def message_class(descriptor: Any) -> Any:
    """The class of the messages with this description."""
    return message_factory.GetMessageClass(descriptor)


def unpack(packed: Any) -> Message:
    """The message in an Any; KeyError where no stub has its type, ValueError where it cannot be read."""
    descriptor = find(packed.type_url.rpartition("/")[2])
    if descriptor is None:
        raise KeyError(packed.type_url)
    try:
        return message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def from_dump(type_url: str, content: Mapping[str, object]) -> Any:
    """The message of this type from its JSON mapping, as a running Envoy shows it; KeyError as `parse`.

    Fields that the stubs do not know are left out: Envoy is newer than they are.
    """
    message = parse(type_url, b"")
    json_format.ParseDict(dict(content), message, ignore_unknown_fields=True)
    return message
