"""CUSTOM policies: somebody outside decides about the requests that they name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.authorization import PREFIX, apply_enabled, apply_grpc, everything
from controlplane.envoy.authorization_routes import RBAC, custom_name
from controlplane.envoy.filters.chain import Chain, http_filter
from controlplane.mesh.authorization import ExtAuthz
from controlplane.mesh.authorization_match import text

NAME = "envoy.filters.http.ext_authz"


def build(chain: Chain) -> tuple[Any, ...]:
    """Two filters for each provider in use: one finds out whether to ask, the other asks."""
    return tuple(one for provider in chain.providers for one in _filters(provider))


def _filters(provider: ExtAuthz) -> Iterator[Any]:
    rbac = pb.http_rbac.RBAC(
        shadow_rules=everything(provider.name),
        shadow_rules_stat_prefix=PREFIX,
    )
    yield http_filter(custom_name(provider.name), rbac)
    yield http_filter(f"{NAME}.{provider.name}", _ext_authz(provider))


def _ext_authz(provider: ExtAuthz) -> Any:
    message = pb.http_ext_authz.ExtAuthz(
        transport_api_version=pb.config_source.ApiVersion.V3,
        failure_mode_allow=provider.fail_open,
        failure_mode_allow_header_add=provider.fail_open,
        clear_route_cache=provider.clear_route_cache,
    )
    apply_enabled(message, provider, RBAC)
    if provider.status_on_error:
        message.status_on_error.code = provider.status_on_error
    if provider.max_request_bytes:
        message.with_request_body.max_request_bytes = provider.max_request_bytes
        message.with_request_body.allow_partial_message = provider.allow_partial
        message.with_request_body.pack_as_bytes = provider.pack_as_bytes
    if provider.grpc:
        apply_grpc(message, provider)
    else:
        _http(message, provider)
    return message


def _http(message: Any, provider: ExtAuthz) -> None:
    service = message.http_service
    service.path_prefix = provider.path_prefix
    service.server_uri.uri = f"http://{provider.authority}"
    service.server_uri.cluster = provider.cluster
    service.server_uri.timeout.CopyFrom(pb.duration(provider.timeout))
    for name, value in provider.additional_headers:
        service.authorization_request.headers_to_add.add(key=name, value=value)
    _names(message.allowed_headers, provider.headers_in_check)
    answer = service.authorization_response
    _names(answer.allowed_upstream_headers, provider.headers_upstream)
    _names(answer.allowed_client_headers, provider.headers_on_deny)
    _names(answer.allowed_client_headers_on_success, provider.headers_on_allow)


def _names(matcher: Any, names: tuple[str, ...]) -> None:
    """Header names, which know no case, with wildcards."""
    for name in names:
        test = text("header", name)
        if test.how == "present":
            matcher.patterns.add().safe_regex.regex = ".+"
        else:
            matcher.patterns.add(**{test.how: test.value}, ignore_case=True)
