"""Which services have virtual hosts on a port: once for the mesh, and what a scope adds.

Nearly all virtual hosts are the same for everybody but for short names, which the clients of the
service's own namespace have besides.  So there is one collection per port for the mesh; a scope adds
the services of its own namespace, those that look different to different clients, and those that only
it sees.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from controlplane.graph import Plan, Q, Source, group, keyed, query
from controlplane.mesh.imports import offer
from controlplane.mesh.projections import Scope
from controlplane.mesh.protocols import AUTO
from controlplane.mesh.routing_hosts import host_facts, is_uniform
from controlplane.mesh.routing_names import neighbours, own_addresses
from controlplane.mesh.routing_unregistered import unregistered
from controlplane.mesh.scope import common_services, particular_services
from controlplane.mesh.service import ServiceId, service, service_ports


class Seat(NamedTuple):
    """Where a common service is found: "far" for clients elsewhere, "home" for those of a namespace of
    its own, "odd" where each client may see another virtual host."""

    kind: Literal["far", "home", "odd"]
    port: int
    namespace: str = ""


@keyed
def seats(q: Q) -> Plan:
    """Seat -> common services."""
    return group(common_services(q), _seats)


@query
def _seats(q: Q, id: ServiceId) -> tuple[tuple[Seat, ServiceId], ...]:
    out: list[tuple[Seat, ServiceId]] = []
    for port in q(service_ports, id):
        facts = q(host_facts, id, port.number)
        if facts is None:
            continue
        if q(is_uniform, id, port.number):
            out.append((Seat("far", port.number), id))
            out += ((Seat("home", port.number, home), id) for home in facts.homes)
        else:
            out.append((Seat("odd", port.number), id))
    return tuple(out)


@keyed
def particular_ports(q: Q, scope: Scope) -> Plan:
    """Port -> services that the scope does not share with the mesh."""
    services = q.map(particular_services, scope)
    return group(services, _all_ports) if scope.sidecar is None else group(services, _listed, scope)


@query
def _all_ports(q: Q, id: ServiceId) -> tuple[tuple[int, ServiceId], ...]:
    return tuple((port.number, id) for port in q(service_ports, id))


@query
def _listed(q: Q, scope: Scope, id: ServiceId) -> tuple[tuple[int, ServiceId], ...]:
    return tuple((number, id) for number in q(offer, scope, id).listed)


class SniffedPort(NamedTuple):
    """A port of a common service whose protocol is found out, where each client may see other routes;
    three parts, so that it sorts among ServiceIds."""

    host: str
    namespace: str
    port: int


@keyed
def sniffed(q: Q) -> Plan:
    """ "odd" -> SniffedPorts; "far" -> those that look the same to everybody."""
    return group(common_services(q), _sniffed)


@query
def _sniffed(q: Q, id: ServiceId) -> tuple[tuple[str, SniffedPort], ...]:
    kinds: dict[int, str] = {seat.port: seat.kind for seat, _ in q(_seats, id) if seat.kind != "home"}
    ports = [number for number in sniffed_ports(q, id) if number in kinds]
    # Neighbours have short names there, which depend on the client.
    kinds.update((number, "odd") for number in ports if q(neighbours, id, number))
    return tuple((kinds[number], SniffedPort(*id, number)) for number in ports)


def sniffed_ports(q: Q, id: ServiceId) -> tuple[int, ...]:
    """The ports of a service whose protocol is found out where nobody else is: at addresses of its own."""
    found = q(service, id)
    if found is None or not (found.headless or own_addresses(found)):
        return ()
    return tuple(port.number for port in found.ports if port.protocol == AUTO)


def far_members(q: Q, port: int) -> Source:
    """The services whose virtual host on a port is the same for all clients outside their namespace."""
    return q.part(seats, (), Seat("far", port))


def particular_members(q: Q, scope: Scope, port: int) -> tuple[Source, ...]:
    """What a scope has on a port besides the far members: ServiceIds and Unregistered hosts."""
    own = (q.part(particular_ports, (scope,), port), q.part(unregistered, (), port))
    if scope.sidecar is not None:
        return own
    at_home = Seat("home", port, scope.namespace)
    return (*own, q.part(seats, (), Seat("odd", port)), q.part(seats, (), at_home))
