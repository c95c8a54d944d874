"""Hosts that only a VirtualService knows.

A VirtualService may name a host that no service has.  It gets a virtual host of its own on the HTTP
ports of the services that the same VirtualService names, and on port 80 if it names none.  A wildcard
does only where no service is attached to it.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import covers
from controlplane.mesh.imports import offer
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing import Attachment, attachment, virtual_service
from controlplane.mesh.routing_names import ROUTED
from controlplane.mesh.scope import ports, visible
from controlplane.mesh.service import ServiceId, service, service_ports, services_of_host
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services

_DEFAULT_PORT = 80


class Unregistered(NamedTuple):
    """A host of a VirtualService; three strings, so that it sorts among ServiceIds."""

    host: str
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        """The VirtualService."""
        return Key(self.namespace, self.name)


@keyed
def unregistered(q: Q) -> Plan:
    """Port -> hosts of VirtualServices that have no service, at least not for every client."""
    return group(q.members(virtual_services), _unregistered)


@query
def _unregistered(q: Q, key: Key) -> tuple[tuple[int, Unregistered], ...]:
    one = q(attachment, key)
    if one is None or "http" not in one.layers:
        return ()
    hosts = [host for host in one.hosts if not _known_to_all(q, host)]
    if not hosts:
        return ()
    return tuple((port, Unregistered(host, *key)) for port in _ports(q, one) for host in hosts)


def _known_to_all(q: Q, host: str) -> bool:
    return any(
        found is not None and "*" in found.export_to
        for found in (q(service, id) for id in q(services_of_host, host))
    )


def _ports(q: Q, one: Attachment) -> tuple[int, ...]:
    """The HTTP ports of the services that a VirtualService names; 80 for want of any."""
    numbers = {
        port.number
        for host in one.hosts
        for id in q(services_of_host, host)
        for port in q(service_ports, id)
        if port.protocol in ROUTED
    }
    return tuple(sorted(numbers)) or (_DEFAULT_PORT,)


def is_served(q: Q, scope: Scope, port: int, item: Unregistered) -> bool:
    """Whether the host gets its own virtual host in a scope."""
    if virtual_service(q, scope, item.host, "http") != item.key:
        return False
    if any(routed_in(q, scope, id, port) for id in q(services_of_host, item.host)):
        return False
    return not (item.host.startswith("*") and _is_attached(q, scope, port, item))


def _is_attached(q: Q, scope: Scope, port: int, item: Unregistered) -> bool:
    """Whether some service of the port takes its routes from the wildcard; rarely asked, so a search."""
    return any(
        covers(item.host, id.host)
        and routed_in(q, scope, id, port)
        and virtual_service(q, scope, id.host, "http") == item.key
        for id in q.keys(q.part(ports, (scope,), port))
    )


def routed_in(q: Q, scope: Scope, id: ServiceId, number: int) -> bool:
    """Whether a service has a virtual host on a port in a scope."""
    if q.at(visible, (scope,), id) is None:
        return False
    if scope.sidecar is not None and number not in q(offer, scope, id).listed:
        return False
    return any(port.number == number and port.protocol in ROUTED for port in q(service_ports, id))
