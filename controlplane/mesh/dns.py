"""Which names a proxy answers itself, and with which addresses: those of services that have a virtual IP.

A pod's resolver completes short names to the host, so hosts are what is asked for there; on a machine without
a search path people write the short forms, which are answered too.  All other names are for the resolvers.
As with virtual hosts there is one collection for the mesh, and per scope what is particular to it: services
that only it sees, and those of its own namespace, which have one more name there.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Plan, Q, Source, flat, group, keyed, query
from controlplane.mesh.hosts import is_partial
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing_names import derived_names, home_namespaces, own_addresses
from controlplane.mesh.scope import common_services, particular_services
from controlplane.mesh.service import Service, ServiceId, service
from controlplane.model.hosts import is_address


class Answer(NamedTuple):
    """A name and its addresses, for clients outside `homes`; these have it in another collection."""

    name: str
    addresses: tuple[str, ...]
    homes: tuple[str, ...] = ()


@keyed
def common_answers(q: Q) -> Plan:
    """Name -> Answer, for services that look the same to everybody; of two services the first has a name."""
    return flat(common_services(q), _common_answers)


@query
def _common_answers(q: Q, id: ServiceId) -> tuple[tuple[str, Answer], ...]:
    found = q(service, id)
    if found is None:
        return ()
    homes = home_namespaces(found)
    return tuple((one.name, one._replace(homes=homes)) for one in _answers(found, ""))


@keyed
def particular_answers(q: Q, scope: Scope) -> Plan:
    """Name -> Answer, for the other services that a scope sees, and for those at home in its namespace."""
    particular = q.map(particular_services, scope)
    home = () if scope.sidecar else (q.part(_at_home, (), scope.namespace),)
    sources: tuple[Source, ...] = (particular, *home)
    return flat(sources, _answers_in, scope.namespace)


@query
def _answers_in(q: Q, namespace: str, id: ServiceId) -> tuple[tuple[str, Answer], ...]:
    found = q(service, id)
    return () if found is None else tuple((one.name, one) for one in _answers(found, namespace))


@keyed
def _at_home(q: Q) -> Plan:
    """Namespace -> common services that have a name of their own there."""
    return group(common_services(q), _homes)


@query
def _homes(q: Q, id: ServiceId) -> tuple[tuple[str, ServiceId], ...]:
    found = q(service, id)
    if found is None or not own_addresses(found):
        return ()
    return tuple((home, id) for home in home_namespaces(found))


def _answers(found: Service, namespace: str) -> list[Answer]:
    addresses = own_addresses(found)
    if not addresses:
        return []
    names = (found.id.host, *derived_names(found, namespace))
    return [Answer(name, addresses) for name in names if _is_asked_for(name)]


def _is_asked_for(name: str) -> bool:
    # A query has no dot at its end, and Envoy knows wildcards of whole labels only.
    return not name.endswith(".") and not is_address(name) and not is_partial(name)
