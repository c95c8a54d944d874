"""virtualInbound: the one listener that takes what was redirected on its way to the application.

    one chain per port of the workload       HTTP by RDS ("inbound|9080||"), or TCP
    passthrough                              ports that no service names, HTTP and anything
    blackhole                                whoever dials the listener's own port

Every chain is plaintext here.  Routes are by RDS although there is only one: what guards a port can then
change without touching the listener.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.accesslog import AccessLog, access_log, refusal_logs
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.listeners_claims import WILDCARD
from controlplane.envoy.listeners_outbound import detection_timeout
from controlplane.envoy.listeners_parts import (
    chain,
    http_inspector,
    http_manager,
    http_match,
    original_dst,
    port_match,
    socket,
    tcp_proxy,
    wait_for_inspection,
)
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.mesh.projections import Inbound
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.settings import mesh_config


@keyed
def inbound_listeners(q: Q, inbound: Inbound) -> Plan:
    """Listener name -> Resource: virtualInbound."""
    return each(q.fixed(names.VIRTUAL_INBOUND), _inbound_listener, inbound)


@query
def _inbound_listener(q: Q, inbound: Inbound, _name: str) -> Resource:
    return q(virtual_inbound, tuple((one.target, one.protocol) for one in inbound.bindings))


@query
def virtual_inbound(q: Q, ports: tuple[tuple[int, str], ...]) -> Resource:
    """The listener of all workloads that have these ports, as (workload port, protocol) pairs."""
    log = q(access_log)
    port = q(mesh_config).proxy_inbound_listen_port
    message = pb.listener.Listener(
        name=names.VIRTUAL_INBOUND,
        address=socket(WILDCARD, port),
        traffic_direction=pb.base.TrafficDirection.INBOUND,
        access_log=refusal_logs(log),
    )
    declared = [target for target, protocol in ports if protocol != AUTO]
    message.listener_filters.extend((original_dst(), http_inspector(declared)))
    wait_for_inspection(message, q(detection_timeout))
    # Whoever dials the port itself would be sent back to it for ever.
    loop = tcp_proxy(names.BLACK_HOLE, names.BLACK_HOLE, log)
    message.filter_chains.append(chain(f"{message.name}-blackhole", [loop], port_match(port)))
    for target, protocol in ports:
        message.filter_chains.extend(_chains(target, protocol, log))
    web = http_manager(names.INBOUND_PASSTHROUGH, _passthrough_routes(), Chain("inbound"), log)
    message.filter_chains.append(chain(f"{message.name}-catchall-http", [web], http_match()))
    rest = tcp_proxy(names.INBOUND_PASSTHROUGH, names.INBOUND_PASSTHROUGH, log)
    message.default_filter_chain.CopyFrom(chain(message.name, [rest]))
    routes = tuple(names.inbound_cluster(target) for target, protocol in ports if _is_http(protocol))
    return resource(LISTENER, message.name, message, routes)


def _is_http(protocol: str) -> bool:
    return protocol in HTTP_LIKE or protocol == AUTO


def _chains(target: int, protocol: str, log: AccessLog | None) -> list[Any]:
    """The chains of one port of the workload: one, or two where the protocol is found out."""
    name = f"{WILDCARD}_{target}"
    cluster = names.inbound_cluster(target)
    proxy = tcp_proxy(cluster, cluster, log)
    if not _is_http(protocol):
        return [chain(name, [proxy], port_match(target))]
    where = Chain("inbound", grpc_web=protocol == "GRPC-Web")
    manager = http_manager(f"inbound_{name}", cluster, where, log)
    if protocol != AUTO:
        return [chain(name, [manager], port_match(target))]
    # Both name the transport: Envoy, once it followed one that does, would not come back for the other.
    rest = port_match(target)
    rest.transport_protocol = "raw_buffer"
    return [chain(f"{name}-http", [manager], http_match(target)), chain(f"{name}-tcp", [proxy], rest)]


def _passthrough_routes() -> Any:
    """Routes of ports that no service names; inline, for nothing about them can change."""
    message = pb.route.RouteConfiguration(name=names.INBOUND_PASSTHROUGH)
    message.validate_clusters.value = False
    host = message.virtual_hosts.add(name="inbound|http|0", domains=["*"])
    route = host.routes.add(name="default")
    route.match.prefix = "/"
    route.route.cluster = names.INBOUND_PASSTHROUGH
    route.route.timeout.SetInParent()
    route.decorator.operation = f"{names.INBOUND_PASSTHROUGH}:80/*"
    return message
