"""virtualInbound: the one listener that takes what was redirected on its way to the application.

    the chains of each port of the workload  HTTP by RDS ("inbound|9080||"), or TCP
    passthrough                              ports that no service names, HTTP and anything
    blackhole                                whoever dials the listener's own port

Which chains a port has, and what goes through TLS, `inbound_chains` says.  Routes are by RDS although there
is only one: what guards a port can then change without touching the listener, which would drain connections.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.accesslog import AccessLog, access_log, refusal_logs
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.guard import Guard, guard
from controlplane.envoy.inbound_chains import Door, Ends, chains
from controlplane.envoy.inbound_tls import CLOSED, ENCRYPTED, downstream_tls
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
    tls_inspector,
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
    ports = tuple((one.target, one.protocol) for one in inbound.bindings)
    return q(virtual_inbound, ports, q(guard, inbound.namespace, inbound.security))


@query
def virtual_inbound(q: Q, ports: tuple[tuple[int, str], ...], guarded: Guard) -> Resource:
    """The listener of all workloads with this guard and these ports, as (workload port, protocol) pairs."""
    log = q(access_log)
    port = q(mesh_config).proxy_inbound_listen_port
    message = pb.listener.Listener(
        name=names.VIRTUAL_INBOUND,
        address=socket(WILDCARD, port),
        traffic_direction=pb.base.TrafficDirection.INBOUND,
        access_log=refusal_logs(log),
    )
    modes = guarded.tls
    protocols = dict(ports)
    # Ports that only a policy names are served as those that nobody names, in their own mode.
    targets = sorted({*protocols, *dict(modes.ports)})
    message.listener_filters.append(original_dst())
    if modes.encrypted:
        message.listener_filters.append(tls_inspector(t for t in targets if modes.at(t) not in ENCRYPTED))
    message.listener_filters.append(http_inspector(t for t, protocol in ports if protocol != AUTO))
    wait_for_inspection(message, q(detection_timeout))
    # Whoever dials the port itself would be sent back to it for ever.
    loop = tcp_proxy(names.BLACK_HOLE, names.BLACK_HOLE, log)
    message.filter_chains.append(chain(f"{message.name}-blackhole", [loop], port_match(port)))
    tls = None if modes.settings is None else downstream_tls(modes.settings)
    for target in targets:
        name = f"{WILDCARD}_{target}"
        ends = _ends(name, target, protocols.get(target, ""), guarded, log)
        message.filter_chains.extend(chains(Door(name, target, modes.at(target)), ends, tls, [loop]))
    _take_the_rest(message, guarded, tls, log)
    routes = [names.inbound_cluster(target) for target, protocol in ports if _is_http(protocol)]
    return resource(LISTENER, message.name, message, (*routes, names.INBOUND_PASSTHROUGH))


def _is_http(protocol: str) -> bool:
    return protocol in HTTP_LIKE or protocol == AUTO


def _ends(name: str, target: int, protocol: str, guarded: Guard, log: AccessLog | None) -> Ends:
    """What a port's connections are handed to; `protocol` "" is a port without a service."""
    if not protocol:
        return _passthrough(guarded, log)
    cluster = names.inbound_cluster(target)
    proxy = (*network_guards(guarded.tcp), tcp_proxy(cluster, cluster, log))
    if not _is_http(protocol):
        return Ends(tcp=proxy)
    where = _where(guarded, grpc_web=protocol == "GRPC-Web")
    manager = http_manager(f"inbound_{name}", cluster, where, log)
    return Ends((manager,), proxy if protocol == AUTO else ())


def _where(guarded: Guard, *, grpc_web: bool = False) -> Chain:
    jwt, providers, paths = guarded.jwt, guarded.providers, guarded.paths
    return Chain("inbound", grpc_web, guarded=True, jwt=jwt, providers=providers, paths=paths)


def _passthrough(guarded: Guard, log: AccessLog | None) -> Ends:
    name = names.INBOUND_PASSTHROUGH
    web = http_manager(name, name, _where(guarded), log)
    return Ends((web,), (*network_guards(guarded.tcp), tcp_proxy(name, name, log)))


def _take_the_rest(message: Any, guarded: Guard, tls: Any | None, log: AccessLog | None) -> None:
    """Connections to ports without chains of their own.

    Where some port is guarded there is no default chain, which would take what that port's chains refuse.
    """
    ends = _passthrough(guarded, log)
    if guarded.tls.guarded:
        mode = guarded.tls.default
        if mode != CLOSED:
            found = chains(Door(message.name, 0, mode), ends, tls, ())
            message.filter_chains.extend(found)
        return
    message.filter_chains.append(chain(f"{message.name}-catchall-http", ends.http, http_match()))
    message.default_filter_chain.CopyFrom(chain(message.name, ends.tcp))
