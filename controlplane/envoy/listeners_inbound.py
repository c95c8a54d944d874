"""virtualInbound: the one listener that takes what was redirected on its way to the application.

    the chains of each port of the workload  HTTP by RDS ("inbound|9080||"), or TCP
    passthrough                              ports that no service names, HTTP and anything
    blackhole                                whoever dials the listener's own port

Which chains a port has, and what goes through TLS, `inbound_chains` says.  Routes are by RDS although there
is only one: what guards a port can then change without touching the listener, which would drain connections.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.envoy import names, pb
from controlplane.envoy.accesslog import AccessLog, access_log, refusal_logs
from controlplane.envoy.authorization_network import network_guards
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.guard import Guard, guard
from controlplane.envoy.inbound_chains import Door, Ends, chains
from controlplane.envoy.inbound_tls import CLOSED, ENCRYPTED, downstream_tls, file_tls
from controlplane.envoy.listeners_outbound import detection_timeout
from controlplane.envoy.listeners_parts import (
    Tcp,
    add_addresses,
    chain,
    http_inspector,
    http_manager,
    http_match,
    http_protocols,
    limit_buffer,
    original_dst,
    original_src,
    port_match,
    socket,
    speaking,
    tcp_proxy,
    tls_inspector,
    wait_for_inspection,
)
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.mesh.listening import USUAL, WILDCARD, Stance
from controlplane.mesh.projections import Binding, Inbound, Lasting
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.settings import http_manners, listener_ports
from controlplane.model.kinds.proxy_manners import Manners
from controlplane.model.kinds.tls import ServerTLSSettings


class Port(NamedTuple):
    """A port of the workload; `tls`: its own, in place of the mesh's."""

    target: int
    protocol: str
    tls: ServerTLSSettings | None = None
    lasting: Lasting = Lasting()


@keyed
def inbound_listeners(q: Q, inbound: Inbound, stance: Stance = USUAL) -> Plan:
    """Listener name -> Resource: virtualInbound."""
    return each(q.fixed(names.VIRTUAL_INBOUND), _inbound_listener, inbound, stance)


@query
def _inbound_listener(q: Q, inbound: Inbound, stance: Stance, _name: str) -> Resource:
    ports = tuple(port_of(one) for one in inbound.bindings if not one.bind)
    return q(virtual_inbound, ports, q(guard, inbound.namespace, inbound.security), stance)


def port_of(binding: Binding) -> Port:
    """What the listener has to know of a binding."""
    return Port(binding.target, binding.protocol, binding.tls, binding.lasting)


@query
def virtual_inbound(q: Q, ports: tuple[Port, ...], guarded: Guard, stance: Stance = USUAL) -> Resource:
    """The listener of all workloads with this guard and these ports."""
    log = q(access_log)
    _, port = q(listener_ports)
    # Somebody may take the listener's own port for one of the workload's.
    ports = tuple(one for one in ports if one.target != port)
    message = pb.listener.Listener(
        name=names.VIRTUAL_INBOUND,
        address=socket(stance.wildcards[0], port),
        traffic_direction=pb.base.TrafficDirection.INBOUND,
        access_log=refusal_logs(log),
    )
    add_addresses(message, stance, port)
    if stance.transparent:
        message.transparent.value = True
    modes = guarded.tls
    inside = Inside(guarded, stance, log, q(http_manners))
    limit_buffer(message, inside.manners)
    named = {one.target: one for one in ports}
    # Ports that only a policy names are served as those that nobody names, in their own mode.
    targets = sorted({*named, *dict(modes.ports)} - {port})
    message.listener_filters.append(original_dst())
    if stance.transparent:
        message.listener_filters.append(original_src())
    if modes.encrypted:
        message.listener_filters.append(tls_inspector(t for t in targets if modes.at(t) not in ENCRYPTED))
    message.listener_filters.append(http_inspector(one.target for one in ports if one.protocol != AUTO))
    wait_for_inspection(message, q(detection_timeout))
    # Whoever dials the port itself would be sent back to it for ever.
    loop = tcp_proxy(names.BLACK_HOLE, names.BLACK_HOLE, log)
    message.filter_chains.append(chain(f"{message.name}-blackhole", [loop], port_match(port)))
    tls = None if modes.settings is None else downstream_tls(modes.settings)
    for target in targets:
        one = named.get(target)
        name = f"{WILDCARD}_{target}"
        if one is not None and one.tls is not None:
            message.filter_chains.append(own_tls_chain(name, one, inside, port_match(target)))
            continue
        ends = _passthrough(inside) if one is None else ends_of(name, one, inside)
        door = Door(name, target, modes.at(target), http_protocols(stance))
        message.filter_chains.extend(chains(door, ends, tls, [loop]))
    _take_the_rest(message, inside, tls)
    routes = [names.inbound_cluster(one.target) for one in ports if is_http(one)]
    return resource(LISTENER, message.name, message, (*routes, names.INBOUND_PASSTHROUGH))


class Inside(NamedTuple):
    """What all chains of a workload have in common."""

    guarded: Guard
    stance: Stance
    log: AccessLog | None
    manners: Manners = Manners()


def is_http(port: Port) -> bool:
    """Whether HTTP may come to a port."""
    return port.protocol in HTTP_LIKE or port.protocol == AUTO


def own_tls_chain(name: str, port: Port, inside: Inside, match: Any | None = None) -> Any:
    """The chain of a port where the sidecar ends the workload's own TLS; whoever speaks none is refused."""
    ends = ends_of(name, port, inside)
    message = chain(name, ends.http or ends.tcp, match)
    if port.tls is not None:
        message.transport_socket.CopyFrom(file_tls(port.tls, http=bool(ends.http)))
    return message


def ends_of(name: str, port: Port, inside: Inside) -> Ends:
    """What the connections of a port are handed to."""
    cluster = names.inbound_cluster(port.target)
    idle = inside.stance.idle_timeout if port.lasting.idle is None else port.lasting.idle
    last = tcp_proxy(cluster, cluster, inside.log, Tcp(idle, port.lasting.longest))
    proxy = (*network_guards(inside.guarded.tcp), last)
    if not is_http(port):
        return Ends(tcp=proxy)
    where = _where(inside, grpc_web=port.protocol == "GRPC-Web")
    manager = http_manager(f"inbound_{name}", cluster, where, inside.log)
    return Ends((manager,), proxy if port.protocol == AUTO else ())


def _where(inside: Inside, *, grpc_web: bool = False) -> Chain:
    guarded = inside.guarded
    jwt, providers, paths = guarded.jwt, guarded.providers, guarded.paths
    where = Chain("inbound", grpc_web, guarded=True, jwt=jwt, providers=providers, paths=paths)
    return speaking(where._replace(manners=inside.manners), inside.stance)


def _passthrough(inside: Inside) -> Ends:
    """Of a port without a service."""
    name = names.INBOUND_PASSTHROUGH
    web = http_manager(name, name, _where(inside), inside.log)
    return Ends((web,), (*network_guards(inside.guarded.tcp), tcp_proxy(name, name, inside.log)))


def _take_the_rest(message: Any, inside: Inside, tls: Any | None) -> None:
    """Connections to ports without chains of their own.

    Where some port is guarded there is no default chain, which would take what that port's chains refuse.
    """
    ends = _passthrough(inside)
    if inside.guarded.tls.guarded:
        mode = inside.guarded.tls.default
        if mode != CLOSED:
            door = Door(message.name, 0, mode, http_protocols(inside.stance))
            found = chains(door, ends, tls, ())
            message.filter_chains.extend(found)
        return
    message.filter_chains.append(chain(f"{message.name}-catchall-http", ends.http, http_match(inside.stance)))
    message.default_filter_chain.CopyFrom(chain(message.name, ends.tcp))
