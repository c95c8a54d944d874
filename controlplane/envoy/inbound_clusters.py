"""The clusters that lead to the application beside the proxy, and three that lead nowhere in particular."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.cluster_metadata import describe_inbound, stat_name
from controlplane.envoy.cluster_policy import apply_pool, balance
from controlplane.envoy.cluster_protocol import apply_protocol, keep_case, speaks_http2
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.protocols import AUTO
from controlplane.mesh.rules import destination_rule, policy_of
from controlplane.mesh.scope import Binding, Inbound
from controlplane.mesh.service import service
from controlplane.mesh.settings import (
    cluster_defaults,
    default_policy,
    inbound_stat_name,
    inbound_to_localhost,
)
from controlplane.model.checks import UNIX
from controlplane.model.duration import SECOND
from controlplane.model.keys import Key
from controlplane.model.kinds import sidecars
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings
from controlplane.model.kinds.destination_rule import TrafficPolicy
from controlplane.model.kinds.sidecar import Sidecar

Cluster = pb.cluster.Cluster

SOURCES = {4: "127.0.0.6", 6: "::6"}
"""What inbound connections to the application come from, by family: redirect rules let it pass."""
_LOCAL = {4: "127.0.0.1", 6: "::1"}
_IPV4 = (4,)

_CLEANUP = 60 * SECOND


@keyed
def inbound_clusters(q: Q, inbound: Inbound, families: tuple[int, ...] = _IPV4) -> Plan:
    """Cluster name -> Resource, one per port of the workload; `families` as in `Stance`."""
    return flat(q.fixed(*inbound.bindings), _inbound_cluster, inbound.namespace, inbound.sidecar, families)


@query
def _inbound_cluster(
    q: Q, namespace: str, sidecar: Key | None, families: tuple[int, ...], binding: Binding
) -> tuple[tuple[str, Resource], ...]:
    defaults = q(cluster_defaults)
    name = names.inbound_cluster(binding.target)
    pool = _pool(q, namespace, sidecar, binding)
    message = Cluster(name=name, alt_stat_name=_alias(q, name, binding) + ";")
    _lead_to_application(message, binding, families, to_localhost=q(inbound_to_localhost))
    apply_pool(message, pool, None, defaults)
    policy = TrafficPolicy(connection_pool=pool)
    # The upgrade that the mesh wants is between proxies; what the application speaks, its port says.
    apply_protocol(
        message, binding.protocol, policy, http2=speaks_http2(binding.protocol, None, upgrade_default=False)
    )
    if defaults.case:
        keep_case(message, binding.protocol)
    if binding.service.host:
        describe_inbound(message, (binding.service,))
    return ((name, resource(CLUSTER, name, message)),)


def _pool(q: Q, namespace: str, sidecar: Key | None, binding: Binding) -> ConnectionPoolSettings | None:
    """What the Sidecar says, else the service's own DestinationRule: limits hold on both sides."""
    found: Sidecar | None = None if sidecar is None else q.get(sidecars, sidecar)
    if found is not None:
        for listener in found.ingress:
            if listener.port.number == binding.target and listener.connection_pool is not None:
                return listener.connection_pool
        if found.inbound_connection_pool is not None:
            return found.inbound_connection_pool
    rule = q(destination_rule, namespace, binding.service) if binding.service.host else None
    return policy_of(q, rule, binding.port).connection_pool


def _lead_to_application(
    message: Any, binding: Binding, families: tuple[int, ...], *, to_localhost: bool
) -> None:
    """To where the traffic was sent, unless the Sidecar or the mesh names another place."""
    endpoint = binding.endpoint
    if endpoint.startswith(UNIX):
        _static(message).pipe.path = endpoint.removeprefix(UNIX)
    elif endpoint and not endpoint.startswith(":"):
        host, _, port = endpoint.rpartition(":")
        address = _static(message).socket_address
        address.address, address.port_value = host.strip("[]"), int(port)
    elif to_localhost:
        address = _static(message).socket_address
        local = _LOCAL[families[0]]
        address.address, address.port_value = local, int(endpoint[1:] or binding.target)
    else:
        _original_destination(message, families)
        if endpoint:
            message.original_dst_lb_config.upstream_port_override.value = int(endpoint[1:])


def _static(message: Any) -> Any:
    """Make the cluster one of a single fixed address, which the caller fills in."""
    message.type = Cluster.STATIC
    message.lb_policy = Cluster.ROUND_ROBIN
    message.load_assignment.cluster_name = message.name
    return message.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address


def _original_destination(message: Any, families: tuple[int, ...]) -> None:
    message.type = Cluster.ORIGINAL_DST
    balance(message, None)
    message.cleanup_interval.CopyFrom(pb.duration(_CLEANUP))
    bind = message.upstream_bind_config
    first, *others = (SOURCES[family] for family in families)
    # Any port, which has to be said.
    bind.source_address.address, bind.source_address.port_value = first, 0
    for address in others:
        extra = bind.extra_source_addresses.add().address
        extra.address, extra.port_value = address, 0


@keyed
def static_clusters(q: Q, families: tuple[int, ...] = _IPV4) -> Plan:
    """The clusters that every sidecar has: for nothing, for anything outside, for any other inbound port."""
    every = q.fixed(names.BLACK_HOLE, names.INBOUND_PASSTHROUGH, names.PASSTHROUGH)
    return each(every, _static_cluster, families)


def _alias(q: Q, name: str, binding: Binding) -> str:
    """How its statistics are called: as the mesh says, which knows a service by its host and port."""
    pattern = q(inbound_stat_name)
    found = q(service, binding.service) if pattern else None
    port = None if found is None else found.port(binding.port)
    return name if found is None or port is None else stat_name(pattern, found, port, "")


@keyed
def edge_clusters(q: Q) -> Plan:
    """The one of them that a gateway has: nothing was redirected to it, so nothing passes through."""
    return each(q.fixed(names.BLACK_HOLE), _static_cluster, _IPV4)


@query
def _static_cluster(q: Q, families: tuple[int, ...], name: str) -> Resource:
    defaults = q(cluster_defaults)
    message = Cluster(name=name, alt_stat_name=name + ";")
    if name == names.BLACK_HOLE:
        message.type = Cluster.STATIC
        message.lb_policy = Cluster.ROUND_ROBIN
        message.connect_timeout.CopyFrom(pb.duration(defaults.connect_timeout))
        return resource(CLUSTER, name, message)
    if name == names.INBOUND_PASSTHROUGH:
        _original_destination(message, families)
    else:
        message.type = Cluster.ORIGINAL_DST
        balance(message, None)
    policy = TrafficPolicy(connection_pool=q(default_policy).connection_pool)
    apply_pool(message, policy.connection_pool, None, defaults)
    apply_protocol(message, AUTO, policy, http2=False)
    if defaults.case:
        keep_case(message, AUTO)
    return resource(CLUSTER, name, message)
