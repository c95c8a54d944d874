"""Endpoints: who answers for a port of a service, whole or by subset, and as whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, TypeAlias

from controlplane.graph import Q, contains, query
from controlplane.mesh.endpoint import Endpoint, distinct
from controlplane.mesh.kubernetes_endpoints import kubernetes_endpoints
from controlplane.mesh.peer_authentication import takes_mutual
from controlplane.mesh.selected_endpoints import entry_endpoints
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.settings import mesh_tls
from controlplane.model.identity import Identity
from controlplane.model.keys import Key, Labels

__all__ = ["Endpoint", "endpoints", "mutual_endpoints", "server_identities", "subset_endpoints"]

Share: TypeAlias = Literal["all", "some", "none", ""]


@query
def endpoints(q: Q, id: ServiceId, port_number: int) -> tuple[Endpoint, ...]:
    """The endpoints of a service's port, sorted by address; () where there is no such port."""
    found = q(service, id)
    port = None if found is None else found.port(port_number)
    if found is None or port is None:
        return ()
    key = Key(found.source.namespace, found.source.name)
    if found.source.kind == "Service":
        return distinct(_allowed(q, key.namespace, kubernetes_endpoints(q, key, port)))
    return distinct(_allowed(q, key.namespace, entry_endpoints(q, key, id.host, port)))


def _allowed(q: Q, namespace: str, found: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """The endpoints, of which those take no mutual TLS that a PeerAuthentication disables it for."""
    takes = q(takes_mutual, namespace)
    for endpoint in found:
        refused = endpoint.mutual and not takes.at(endpoint.labels, endpoint.port)
        yield replace(endpoint, mutual=False) if refused else endpoint


@query
def subset_endpoints(q: Q, id: ServiceId, port_number: int, labels: Labels) -> tuple[Endpoint, ...]:
    """Those endpoints whose labels contain a subset's."""
    return tuple(e for e in q(endpoints, id, port_number) if contains(e.labels, labels))


@query
def server_identities(q: Q, id: ServiceId, port_number: int) -> tuple[str, ...]:
    """The SPIFFE IDs that a server of this port may have, sorted; () where nothing is known.

    Endpoints come and go all day, and the accounts that they run under hardly ever change.
    """
    accounts = {endpoint.service_account for endpoint in q(endpoints, id, port_number)} - {""}
    domains = q(mesh_tls).trust_domains
    return tuple(sorted(Identity(d, id.namespace, a).spiffe for d in domains for a in accounts))


@query
def mutual_endpoints(q: Q, id: ServiceId, port_number: int) -> Share:
    """How many of a port's endpoints take mutual TLS; "" where it has none at all."""
    found = {endpoint.mutual for endpoint in q(endpoints, id, port_number)}
    if len(found) == 2:
        return "some"
    return "all" if True in found else "none" if found else ""
