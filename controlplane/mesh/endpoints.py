"""Endpoints: who answers for a port of a service, whole or by subset."""

from __future__ import annotations

from controlplane.graph import Q, contains, query
from controlplane.mesh.endpoint import Endpoint, distinct
from controlplane.mesh.kubernetes_endpoints import kubernetes_endpoints
from controlplane.mesh.selected_endpoints import entry_endpoints
from controlplane.mesh.service import ServiceId, service
from controlplane.model.keys import Key, Labels

__all__ = ["Endpoint", "endpoints", "subset_endpoints"]


@query
def endpoints(q: Q, id: ServiceId, port_number: int) -> tuple[Endpoint, ...]:
    """The endpoints of a service's port, sorted by address; () where there is no such port."""
    found = q(service, id)
    port = None if found is None else found.port(port_number)
    if found is None or port is None:
        return ()
    key = Key(found.source.namespace, found.source.name)
    if found.source.kind == "Service":
        return distinct(kubernetes_endpoints(q, key, port))
    return distinct(entry_endpoints(q, key, id.host, port))


@query
def subset_endpoints(q: Q, id: ServiceId, port_number: int, labels: Labels) -> tuple[Endpoint, ...]:
    """Those endpoints whose labels contain a subset's."""
    return tuple(e for e in q(endpoints, id, port_number) if contains(e.labels, labels))
