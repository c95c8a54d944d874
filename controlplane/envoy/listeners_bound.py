"""Inbound listeners that bind: ports of Sidecar.ingress to which nothing is redirected (captureMode NONE).

Callers dial the workload's port and meet its sidecar there.  The chains are those of virtualInbound, which
has one port only here.
"""

from __future__ import annotations

from controlplane.envoy import names, pb
from controlplane.envoy.accesslog import access_log, refusal_logs
from controlplane.envoy.guard import Guard, guard
from controlplane.envoy.inbound_chains import Door, chains
from controlplane.envoy.inbound_tls import ENCRYPTED, downstream_tls
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_inbound import Inside, Port, ends_of, is_http, own_tls_chain, port_of
from controlplane.envoy.listeners_outbound import detection_timeout
from controlplane.envoy.listeners_parts import (
    http_inspector,
    http_protocols,
    limit_buffer,
    socket,
    tcp_proxy,
    tls_inspector,
    wait_for_inspection,
)
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.listening import Stance
from controlplane.mesh.projections import Binding, Inbound, Security
from controlplane.mesh.protocols import AUTO
from controlplane.mesh.settings import http_manners


@keyed
def bound_listeners(q: Q, inbound: Inbound, stance: Stance) -> Plan:
    """Listener name -> Resource, one per port of its own."""
    bound = (one for one in inbound.bindings if one.bind)
    return flat(q.fixed(*bound), _bound_listener, inbound.namespace, inbound.security, stance)


@query
def _bound_listener(
    q: Q, namespace: str, security: Security, stance: Stance, binding: Binding
) -> tuple[tuple[str, Resource], ...]:
    bind = Bind(binding.bind, binding.target, chosen=True, bound=True)
    if not bind.free or not bind.allowed(stance):
        return ()
    return ((bind.name, q(bound_listener, bind, port_of(binding), q(guard, namespace, security), stance)),)


@query
def bound_listener(q: Q, bind: Bind, port: Port, guarded: Guard, stance: Stance) -> Resource:
    """The listener of one port."""
    log = q(access_log)
    message = pb.listener.Listener(
        name=bind.name,
        address=socket(bind.address, bind.port),
        traffic_direction=pb.base.TrafficDirection.INBOUND,
        access_log=refusal_logs(log),
    )
    inside = Inside(guarded, stance, log, q(http_manners))
    limit_buffer(message, inside.manners)
    routes = (names.inbound_cluster(port.target),) if is_http(port) else ()
    if port.tls is not None:
        message.filter_chains.append(own_tls_chain(bind.name, port, inside))
        return resource(LISTENER, bind.name, message, routes)
    mode = guarded.tls.at(port.target)
    if mode in ENCRYPTED:
        message.listener_filters.append(tls_inspector())
    if port.protocol == AUTO:
        message.listener_filters.append(http_inspector())
    if message.listener_filters:
        wait_for_inspection(message, q(detection_timeout))
    tls = None if guarded.tls.settings is None else downstream_tls(guarded.tls.settings)
    refused = tcp_proxy(names.BLACK_HOLE, names.BLACK_HOLE, log)
    door = Door(bind.name, 0, mode, http_protocols(stance))
    message.filter_chains.extend(chains(door, ends_of(bind.name, port, inside), tls, [refused]))
    return resource(LISTENER, bind.name, message, routes)
