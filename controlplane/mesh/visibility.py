"""Who may see what: shelves of services and VirtualServices, arranged so that a scope finds its own.

Every object is put on the shelves that clients can ask for: those of the namespaces it is exported
to (or of "*"), whole, by defining namespace, and by host.  A scope takes the union of a few shelves;
a new service reaches each scope as one key, and a scope whose Sidecar imports two namespaces never
hears of the others.  What looks the same to every client stands on a shelf of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import kubernetes_host
from controlplane.mesh.locality_preference import prefers_near
from controlplane.mesh.rules import common_rule
from controlplane.mesh.service import Service, ServiceId, service, services_of_host
from controlplane.mesh.settings import resolved_export_to, virtual_service_export_to
from controlplane.model.keys import Key
from controlplane.model.kinds import service_entries, services, virtual_services
from controlplane.model.kinds.service_entry import ServiceEntry
from controlplane.model.kinds.virtual_service import VirtualService


class Shelf(NamedTuple):
    """Services exported `to` a namespace or "*", narrowed by defining namespace or by host where not "".

    Not narrowed, it leaves out the common services, which are on `COMMON`.
    """

    to: str
    namespace: str = ""
    host: str = ""
    common: bool = False
    placed: bool = False


COMMON = Shelf("*", common=True)
"""Services that every client sees, sees alike, and under the same DestinationRules."""
PLACED = Shelf("*", common=True, placed=True)
"""Those of them with clusters whose endpoints depend on where the client stands."""


@keyed
def kubernetes_shelves(q: Q) -> Plan:
    """Shelf -> ServiceIds that Kubernetes Services define."""
    return group(q.members(services), _kubernetes_shelves)


@keyed
def entry_shelves(q: Q) -> Plan:
    """Shelf -> ServiceIds that ServiceEntries define."""
    return group(q.members(service_entries), _entry_shelves)


@keyed
def route_shelves(q: Q) -> Plan:
    """A namespace or "*" -> keys of the VirtualServices exported to it."""
    return group(q.members(virtual_services), _route_shelves)


@query
def _kubernetes_shelves(q: Q, key: Key) -> tuple[tuple[Shelf, ServiceId], ...]:
    found = q(service, ServiceId(kubernetes_host(key), key.namespace))
    return () if found is None or found.source.kind != "Service" else tuple(_places(q, found))


@query
def _entry_shelves(q: Q, key: Key) -> tuple[tuple[Shelf, ServiceId], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    out: list[tuple[Shelf, ServiceId]] = []
    for host in sorted(set(entry.hosts)):
        found = q(service, ServiceId(host, key.namespace))
        # Another object of the namespace may define the host; then its exportTo counts.
        if found is not None and (found.source.kind, found.source.name) == ("ServiceEntry", key.name):
            out.extend(_places(q, found))
    return tuple(out)


def _places(q: Q, found: Service) -> Iterator[tuple[Shelf, ServiceId]]:
    common = _is_common(q, found)
    rule = q(common_rule, found.id) if common else None
    if common and prefers_near(q, found, rule or ()):
        yield PLACED, found.id
    for to in found.export_to:
        yield COMMON if common else Shelf(to), found.id
        yield Shelf(to, namespace=found.id.namespace), found.id
        yield Shelf(to, host=found.id.host), found.id


def _is_common(q: Q, found: Service) -> bool:
    return (
        found.export_to == ("*",)
        and len(q(services_of_host, found.id.host)) == 1
        and q(common_rule, found.id) is not None
    )


@query
def _route_shelves(q: Q, key: Key) -> tuple[tuple[str, Key], ...]:
    found: VirtualService = q.get(virtual_services, key)
    export_to = resolved_export_to(found.export_to, q(virtual_service_export_to), key.namespace)
    return tuple((to, key) for to in export_to)
