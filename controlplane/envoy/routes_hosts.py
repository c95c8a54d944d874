"""Virtual hosts and routes as Envoy's messages."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters import cors, fault
from controlplane.envoy.routes_actions import direct_response, forward, fraction, header_options, redirect
from controlplane.envoy.routes_match import route_match, string_matcher
from controlplane.mesh.routing_ir import Cors, Fault, Forward, HeaderChanges, Redirect, Route, VirtualHost
from controlplane.mesh.settings import RouteHeaders
from controlplane.model.keys import Ref

_components = pb.route_components

_ALL = 100.0


def virtual_host_message(host: VirtualHost, headers: RouteHeaders) -> Any:
    """A VirtualHost, whose routes write these headers."""
    message = _components.VirtualHost(
        name=host.name,
        domains=host.domains,
        routes=[route_message(route) for route in host.routes],
        include_request_attempt_count=headers.attempt_count,
    )
    if headers.forwarded_host:
        for route in message.routes:
            if _rewrites_host(route.route):
                route.route.append_x_forwarded_host = True
    return message


def _rewrites_host(action: Any) -> bool:
    shares = action.weighted_clusters.clusters
    return bool(action.host_rewrite_literal) or any(one.host_rewrite_literal for one in shares)


def route_message(route: Route) -> Any:
    """A Route."""
    message = _components.Route(
        name=route.name, match=route_match(route.match), stat_prefix=route.stat_prefix
    )
    if isinstance(route.action, Forward):
        message.route.CopyFrom(forward(route.action))
    elif isinstance(route.action, Redirect):
        message.redirect.CopyFrom(redirect(route.action))
    else:
        message.direct_response.CopyFrom(direct_response(route.action))
    for changes in _headers(route):
        _change_headers(message, changes)
    if route.operation:
        message.decorator.operation = route.operation
    if route.source is not None:
        message.metadata.filter_metadata["istio"].update({"config": config_path(route.source)})
    if route.fault is not None:
        message.typed_per_filter_config[fault.NAME].CopyFrom(pb.pack(_fault(route.fault)))
    if route.cors is not None:
        message.typed_per_filter_config[cors.NAME].CopyFrom(pb.pack(_cors(route.cors)))
    return message


def config_path(source: Ref) -> str:
    """How Istio's tools name the object behind a route or filter chain."""
    return f"/apis/networking.istio.io/v1/namespaces/{source.namespace}/virtual-service/{source.name}"


def _headers(route: Route) -> tuple[HeaderChanges, ...]:
    """The route's header changes, then those of its destination where it has only one."""
    if isinstance(route.action, Forward) and len(route.action.destinations) == 1:
        return (route.headers, route.action.destinations[0].headers)
    return (route.headers,)


def _change_headers(message: Any, changes: HeaderChanges) -> None:
    request, response = changes.request, changes.response
    message.request_headers_to_add.extend(header_options(request.set, request.add))
    message.request_headers_to_remove.extend(request.remove)
    message.response_headers_to_add.extend(header_options(response.set, response.add))
    message.response_headers_to_remove.extend(response.remove)


def _fault(one: Fault) -> Any:
    message = pb.fault.HTTPFault()
    if one.delay:
        message.delay.fixed_delay.CopyFrom(pb.duration(one.delay))
        message.delay.percentage.CopyFrom(fraction(one.delay_percent))
    if one.http_status:
        message.abort.http_status = one.http_status
    elif one.grpc_status is not None:
        message.abort.grpc_status = one.grpc_status
    if one.http_status or one.grpc_status is not None:
        message.abort.percentage.CopyFrom(fraction(one.abort_percent))
    return message


def _cors(one: Cors) -> Any:
    message = pb.cors.CorsPolicy(
        allow_origin_string_match=[string_matcher(origin) for origin in one.origins],
        allow_methods=",".join(one.methods),
        allow_headers=",".join(one.headers),
        expose_headers=",".join(one.expose),
    )
    if one.max_age is not None:
        message.max_age = str(one.max_age // 1_000_000_000)
    if one.allow_credentials is not None:
        message.allow_credentials.value = one.allow_credentials
    message.filter_enabled.default_value.CopyFrom(fraction(_ALL))
    message.forward_not_matching_preflights.value = one.forward_unmatched_preflights
    return message
