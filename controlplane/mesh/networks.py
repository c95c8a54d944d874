"""Networks: endpoints that a caller cannot dial are reached through the gateways of their network.

A Service with the label `topology.istio.io/network` is the door of that network: its external addresses, on
port 15443 or that of the label `networking.istio.io/gatewayPort`, are dialled in place of endpoints there.
What stands behind passes mutual TLS on by the name that it asks for (AUTO_PASSTHROUGH), so endpoints that
take none cannot be reached from elsewhere.  Who says of no network is in that of the root namespace, by the
same label on it.  Who is in none, or in one without a door, or outside the mesh, is dialled directly; a mesh
without doors knows no networks, and pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import lcm
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.endpoint import Endpoint
from controlplane.mesh.endpoints import endpoints
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.settings import root_namespace
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key
from controlplane.model.kinds import namespaces, services
from controlplane.model.kinds.cluster import Namespace
from controlplane.model.kinds.service import NETWORK, Service
from controlplane.model.locality import Locality

GATEWAY_PORT = "networking.istio.io/gatewayPort"
_PORT = 15443


class Door(NamedTuple):
    """Where a network is entered."""

    address: str
    port: int


@keyed
def doors(q: Q) -> Plan:
    """Network -> Door, for each network that has any."""
    return group(q.bucket(services, "is_door", True), _doors)


@query
def _doors(q: Q, key: Key) -> tuple[tuple[str, Door], ...]:
    found: Service | None = q.get(services, key)
    return () if found is None else tuple((door_network(found), door) for door in doors_of(found))


def door_network(found: Service) -> str:
    """The network that a Service says it is the door of."""
    return dict(found.meta.labels)[NETWORK]


def doors_of(found: Service) -> tuple[Door, ...]:
    """The doors that a Service is; names are left out, for endpoints have addresses."""
    port = door_port(found)
    if port is None:
        return ()
    addresses = sorted(address for address in set(found.external_addresses) if is_address(address))
    return tuple(Door(address, port) for address in addresses)


def door_port(found: Service) -> int | None:
    """The port at which a door is dialled; None where its label is no port."""
    said = dict(found.meta.labels).get(GATEWAY_PORT, "")
    if not said:
        return _PORT
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0
    return number if 0 < number < 65536 else None


@query
def networks(q: Q) -> frozenset[str]:
    """The networks that have a door."""
    return frozenset(q.keys(q.map(doors)))


@query
def home_network(q: Q) -> str:
    """The network of all who say nothing else, by the root namespace's label; "" where it has none."""
    root: Namespace | None = q.get(namespaces, Key("", q(root_namespace)))
    return "" if root is None else dict(root.meta.labels).get(NETWORK, "")


@query
def spans_networks(q: Q, id: ServiceId) -> bool:
    """Whether a service has endpoints that some callers reach through a door, and others do not."""
    walled, home, found = q(networks), q(home_network), q(service, id)
    if found is None or found.external:
        return False
    every = (q(endpoints, id, port.number) for port in found.ports)
    return any((endpoint.network or home) in walled for some in every for endpoint in some)


@query
def unreachable_behind_doors(q: Q, id: ServiceId) -> tuple[str, ...]:
    """The networks with a door, sorted, where ready endpoints of a service take no mutual TLS."""
    walled, home, found = q(networks), q(home_network), q(service, id)
    if not walled or found is None or found.external:
        return ()
    every = (one for port in found.ports for one in q(endpoints, id, port.number))
    plain = {one.network or home for one in every if one.healthy and not one.mutual}
    return tuple(sorted(plain & walled))


def in_network(q: Q, network: str, endpoint: Endpoint) -> bool:
    """Whether who is in a network can dial an endpoint without a door; who is in none can."""
    home = q(home_network)
    here, there = network or home, endpoint.network or home
    return not here or not there or here == there


def reached_from(q: Q, network: str, found: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints as callers in a network dial them: doors stand for those of other networks.

    A door weighs what is ready behind it, shared with the other doors of its network, locality by locality.
    """
    home = q(home_network)
    here = network or home
    walled = q(networks) - {here} if here else frozenset()
    found = tuple(found)
    if not any((endpoint.network or home) in walled for endpoint in found):
        return found
    ways = {name: q.keys(q.part(doors, (), name)) for name in sorted(walled)}
    scale = lcm(*(len(way) for way in ways.values() if way))
    direct: list[Endpoint] = []
    weights: dict[tuple[Door, str, Locality], int] = {}
    for endpoint in found:
        there = endpoint.network or home
        way = ways.get(there)
        if not way:
            direct.append(endpoint if scale == 1 else replace(endpoint, weight=endpoint.weight * scale))
        elif endpoint.mutual and endpoint.healthy:
            for door in way:
                share = (door, there, endpoint.locality)
                weights[share] = weights.get(share, 0) + endpoint.weight * scale // len(way)
    indirect = (
        Endpoint(door.address, door.port, locality=place, weight=weight, network=name, mutual=True)
        for (door, name, place), weight in sorted(weights.items())
    )
    return (*direct, *indirect)
