"""What a route does, in Envoy's words."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.mesh.routing_ir import (
    Destination,
    DirectResponse,
    Forward,
    HashKey,
    Mirror,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    Retries,
    Target,
)
from controlplane.model.keys import Labels

_components = pb.route_components

_HOST_SELECTION_ATTEMPTS = 5
_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_MILLION = 1_000_000


def cluster_of(target: Target) -> str:
    """The cluster that serves a target; one without a host is the workload's own port."""
    if not target.host:
        return names.inbound_cluster(target.port)
    return names.outbound_cluster(target.port, target.subset, target.host)


def forward(action: Forward) -> Any:
    """A RouteAction."""
    message = _components.RouteAction()
    if len(action.destinations) == 1:
        message.cluster = cluster_of(action.destinations[0].target)
    else:
        message.weighted_clusters.clusters.extend(_share(one, action) for one in action.destinations)
    authority = action.authority or (
        action.destinations[0].authority if len(action.destinations) == 1 else ""
    )
    if authority:
        message.host_rewrite_literal = authority
    # Unset would be Envoy's 15 s.  It holds for gRPC too; max_grpc_timeout, which Istio sets besides, is
    # deprecated and would have every Envoy warn at every route.
    message.timeout.CopyFrom(pb.duration(action.timeout))
    if action.retries is not None:
        message.retry_policy.CopyFrom(_retry_policy(action.retries))
    if isinstance(action.rewrite, PrefixRewrite):
        message.prefix_rewrite = action.rewrite.value
    elif isinstance(action.rewrite, RegexRewrite):
        message.regex_rewrite.pattern.regex = action.rewrite.pattern
        message.regex_rewrite.substitution = action.rewrite.substitution
    message.request_mirror_policies.extend(_mirror(mirror) for mirror in action.mirrors)
    message.hash_policy.extend(_hash_policy(key) for key in action.hash_keys)
    return message


def _share(share: Destination, action: Forward) -> Any:
    message = _components.WeightedCluster.ClusterWeight(name=cluster_of(share.target))
    message.weight.value = share.weight
    request, response = share.headers.request, share.headers.response
    message.request_headers_to_add.extend(header_options(request.set, request.add))
    message.request_headers_to_remove.extend(request.remove)
    message.response_headers_to_add.extend(header_options(response.set, response.add))
    message.response_headers_to_remove.extend(response.remove)
    if share.authority and not action.authority:
        message.host_rewrite_literal = share.authority
    return message


def header_options(overwrite: Labels, append: Labels) -> list[Any]:
    """HeaderValueOptions: first those that replace a header, then those that add a value."""
    actions = pb.base.HeaderValueOption.HeaderAppendAction
    out = []
    for pairs, action in (
        (overwrite, actions.OVERWRITE_IF_EXISTS_OR_ADD),
        (append, actions.APPEND_IF_EXISTS_OR_ADD),
    ):
        for name, value in pairs:
            header = pb.base.HeaderValue(key=name, value=value)
            out.append(pb.base.HeaderValueOption(header=header, append_action=action))
    return out


def _retry_policy(retries: Retries) -> Any:
    message = _components.RetryPolicy(retry_on=retries.on, retriable_status_codes=retries.status_codes)
    message.num_retries.value = retries.attempts
    if retries.per_try_timeout:
        message.per_try_timeout.CopyFrom(pb.duration(retries.per_try_timeout))
    if retries.backoff:
        message.retry_back_off.base_interval.CopyFrom(pb.duration(retries.backoff))
    if retries.avoid_previous_hosts:
        predicate = pb.pack(pb.previous_hosts.PreviousHostsPredicate())
        message.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts", typed_config=predicate
        )
        message.host_selection_retry_max_attempts = _HOST_SELECTION_ATTEMPTS
    if retries.remote_localities:
        # Look for other localities with every second attempt.
        priorities = pb.previous_priorities.PreviousPrioritiesConfig(update_frequency=2)
        message.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        message.retry_priority.typed_config.CopyFrom(pb.pack(priorities))
    return message


def _mirror(mirror: Mirror) -> Any:
    message = _components.RouteAction.RequestMirrorPolicy(
        cluster=cluster_of(mirror.target), disable_shadow_host_suffix_append=True
    )
    message.runtime_fraction.default_value.CopyFrom(fraction(mirror.percent))
    message.trace_sampled.value = False
    return message


def fraction(percent: float) -> Any:
    """A FractionalPercent, in millionths."""
    numerator = min(round(percent * 10_000), _MILLION)
    denominator = pb.percent.FractionalPercent.DenominatorType.MILLION
    return pb.percent.FractionalPercent(numerator=numerator, denominator=denominator)


def _hash_policy(key: HashKey) -> Any:
    message = _components.RouteAction.HashPolicy()
    if key.kind == "header":
        message.header.header_name = key.name
    elif key.kind == "query":
        message.query_parameter.name = key.name
    elif key.kind == "source_ip":
        message.connection_properties.source_ip = True
    else:
        message.cookie.name = key.name
        message.cookie.path = key.path
        if key.ttl is not None:
            message.cookie.ttl.CopyFrom(pb.duration(key.ttl))
        for name, value in key.attributes:
            message.cookie.attributes.add(name=name, value=value)
    return message


def redirect(action: Redirect) -> Any:
    """A RedirectAction."""
    message = _components.RedirectAction(host_redirect=action.authority, port_redirect=action.port)
    message.response_code = _components.RedirectAction.RedirectResponseCode.Value(
        _REDIRECT_CODES[action.code]
    )
    if action.scheme:
        message.scheme_redirect = action.scheme
    if action.prefix:
        message.prefix_rewrite = action.prefix
    elif action.path:
        message.path_redirect = action.path
    return message


def direct_response(action: DirectResponse) -> Any:
    """A DirectResponseAction."""
    message = _components.DirectResponseAction(status=action.status)
    if action.body is not None:
        message.body.inline_bytes = action.body
    return message
