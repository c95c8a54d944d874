"""What a gateway's routes lead to, for gateways that are to be given no other clusters.

PILOT_FILTER_GATEWAY_CLUSTER_CONFIG: by default a gateway has the clusters of all that is exported to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.authorization_providers import authorizers
from controlplane.mesh.gateways import speaks_for
from controlplane.mesh.gateways_hosts import attached, bound_anywhere
from controlplane.mesh.imports import direct_destinations, nearest_service
from controlplane.mesh.projections import Edge
from controlplane.mesh.routing_delegates import delegate_key
from controlplane.mesh.service import ServiceId
from controlplane.mesh.settings import exported
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import gateways, virtual_services
from controlplane.model.kinds.gateway import Gateway
from controlplane.model.kinds.virtual_service import VirtualService


@keyed
def wanted_services(q: Q, edge: Edge, namespace: str) -> Plan:
    """ServiceId -> what leads there: VirtualServices that are bound to a Gateway of the proxy, providers."""
    # Who is asked whether a request may pass is dialled by the gateway itself.
    asked = sorted({provider.service for _, provider in q(authorizers)})
    sources = (q.part(bound_anywhere, (), True), q.fixed(*asked))
    return group(sources, _wanted, edge._replace(ports=()), namespace)


@query
def _wanted(q: Q, edge: Edge, namespace: str, member: Key | str) -> tuple[tuple[ServiceId, Key | str], ...]:
    if isinstance(member, str):
        hosts = {member}
    else:
        found = q(attached, member)
        if found is None or not exported(found.export_to, namespace):
            return ()
        if not any(_counts(q, edge, gateway) for gateway in found.gateways):
            return ()
        hosts = set(hosts_led_to(q, member))
    ids = {q(nearest_service, namespace, host) for host in hosts} - {None}
    return tuple((id, member) for id in sorted(id for id in ids if id is not None))


def _counts(q: Q, edge: Edge, key: Key) -> bool:
    found: Gateway | None = q.get(gateways, key)
    return found is not None and found.selector in edge.selectors and speaks_for(edge, key)


def hosts_led_to(q: Q, key: Key) -> Iterator[str]:
    """The full names of all destinations of a VirtualService, those of its delegates included."""
    route: VirtualService = q.get(virtual_services, key)
    yield from (fqdn(one.host, key.namespace) for one in direct_destinations(route))
    for rule in route.http:
        if rule.delegate is not None:
            lent = delegate_key(rule.delegate, key.namespace)
            delegate: VirtualService | None = q.get(virtual_services, lent)
            if delegate is not None:
                yield from (fqdn(one.host, lent.namespace) for one in direct_destinations(delegate))
