"""Services: one domain value for what Kubernetes Services and ServiceEntries declare.

A service is known by its host and by the namespace of the object that defines it.  Where several
objects of one namespace claim a host, the Kubernetes Service defines it, else the oldest
ServiceEntry.  A Service of type ExternalName is no service of its own but another name of its target.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.graph import Q, query
from controlplane.mesh.allocated import given_addresses
from controlplane.mesh.hosts import kubernetes_host, kubernetes_key
from controlplane.mesh.protocols import declared_protocol, kubernetes_protocol
from controlplane.mesh.service_id import ServiceId as ServiceId
from controlplane.mesh.settings import (
    entry_visibility,
    limited_export,
    resolved_export_to,
    service_export_to,
)
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels, Ref
from controlplane.model.kinds import service_entries, services
from controlplane.model.kinds.service import Service as KubernetesService
from controlplane.model.kinds.service import distribution_of
from controlplane.model.kinds.service_entry import ServiceEntry

EXPORT_TO = "networking.istio.io/exportTo"
DIRECT = "mini-istiod.io/direct"
"""The annotation of a service whose addresses are those of its workloads, as a container's are."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that clients dial.

    `protocol` is HTTP, HTTP2, GRPC, GRPC-Web, TCP, TLS, HTTPS, MONGO, REDIS, MYSQL or AUTO; `target`
    is the workload's port by number or by name, None where it equals `number`.
    """

    number: int
    name: str
    protocol: str
    target: int | str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service as proxies see it.

    `addresses` are virtual IPs or CIDRs, () = any address.  `allocated`: virtual IPs that it was given, for
    clients that resolve its name through a proxy.  `resolution` is STATIC, DNS,
    DNS_ROUND_ROBIN, NONE (also for headless services) or DYNAMIC_DNS.  `export_to` has the mesh's
    default and "." filled in.  `selector` None: its workloads are not chosen by labels.  `aliases`
    are the hosts of ExternalName Services that point here.  `direct`: `addresses` are no virtual IPs but
    those of its workloads, so that clients may dial one that is not known yet.
    `traffic_distribution` is "", PreferSameZone or PreferSameNode; `node_local`: callers reach endpoints of
    their own machine alone.
    """

    id: ServiceId
    ports: tuple[Port, ...]
    addresses: tuple[str, ...]
    resolution: str
    external: bool
    headless: bool
    export_to: tuple[str, ...]
    created: str
    source: Ref
    selector: Labels | None
    aliases: tuple[str, ...]
    labels: Labels
    subject_alt_names: tuple[str, ...] = ()
    direct: bool = False
    allocated: tuple[str, ...] = ()
    traffic_distribution: str = ""
    node_local: bool = False

    def port(self, number: int) -> Port | None:
        """The port of this number."""
        return next((port for port in self.ports if port.number == number), None)


@query
def service(q: Q, id: ServiceId) -> Service | None:
    """The service of this host and namespace; None where there is none."""
    key = kubernetes_key(id.host)
    if key is not None and key.namespace == id.namespace:
        found: KubernetesService | None = q.get(services, key)
        if found is not None:
            return None if _alias_of(found) else _from_kubernetes(q, id, found)
    entry_key = q(defining_entry, id)
    return None if entry_key is None else _from_entry(q, id, q.get(service_entries, entry_key))


@query
def service_ports(q: Q, id: ServiceId) -> tuple[Port, ...]:
    """The ports of a service; () where there is no such service."""
    found = q(service, id)
    return () if found is None else found.ports


@query
def defining_entry(q: Q, id: ServiceId) -> Key | None:
    """The oldest ServiceEntry of the namespace that lists the host."""
    entries = [key for key in q.index(service_entries, "host", id.host) if key.namespace == id.namespace]
    return min(entries, key=lambda key: (q.get(service_entries, key).meta.created, key), default=None)


@query
def services_of_host(q: Q, host: str) -> tuple[ServiceId, ...]:
    """All services of this very host, sorted by namespace."""
    namespaces = {key.namespace for key in q.index(service_entries, "host", host)}
    kubernetes = kubernetes_key(host)
    if kubernetes is not None:
        namespaces.add(kubernetes.namespace)
    ids = (ServiceId(host, namespace) for namespace in sorted(namespaces))
    return tuple(id for id in ids if q(service, id) is not None)


@query
def alias_target(q: Q, host: str) -> str:
    """Where a chain of ExternalName Services that starts at `host` ends; `host` itself if it is none."""
    seen = {host}
    while True:
        key = kubernetes_key(host)
        found: KubernetesService | None = None if key is None else q.get(services, key)
        target = "" if found is None else _alias_of(found)
        if not target or target in seen:
            return host
        host = target
        seen.add(host)


@query
def aliases(q: Q, host: str) -> tuple[str, ...]:
    """The hosts of all ExternalName Services that point to `host`, directly or through others."""
    found: set[str] = set()
    open_ends = [host]
    while open_ends:
        for key in q.index(services, "external_name", open_ends.pop()):
            alias = kubernetes_host(key)
            if alias not in found and alias != host:
                found.add(alias)
                open_ends.append(alias)
    return tuple(sorted(found))


def _alias_of(found: KubernetesService) -> str:
    """The host that an ExternalName Service points to, "" for other Services."""
    return fqdn(found.external_name, found.meta.namespace) if found.external_name else ""


def _from_kubernetes(q: Q, id: ServiceId, found: KubernetesService) -> Service:
    ports = (
        Port(port.port, port.name, protocol, port.target_port)
        for port in found.ports
        if (protocol := kubernetes_protocol(port)) is not None
    )
    said = next((value for name, value in found.meta.annotations if name == EXPORT_TO), "")
    declared = tuple(part.strip() for part in said.split(",") if part.strip())
    return Service(
        id=id,
        ports=_distinct(ports),
        addresses=found.addresses,
        resolution="NONE" if found.headless else "STATIC",
        external=False,
        headless=found.headless,
        export_to=resolved_export_to(declared, q(service_export_to), id.namespace),
        created=found.meta.created,
        source=Ref("Service", found.meta.namespace, found.meta.name),
        selector=found.selector or None,
        aliases=q(aliases, id.host),
        labels=found.meta.labels,
        traffic_distribution=found.distribution,
        node_local=found.internal_traffic_policy == "Local",
        direct=(DIRECT, "true") in found.meta.annotations,
    )


def _from_entry(q: Q, id: ServiceId, entry: ServiceEntry) -> Service:
    ports = (
        Port(port.number, port.name, protocol, port.target_port)
        for port in entry.ports
        if (protocol := declared_protocol(port.protocol)) is not None
    )
    export_to = resolved_export_to(entry.export_to, q(service_export_to), id.namespace)
    return Service(
        id=id,
        ports=_distinct(ports),
        addresses=tuple(_without_host_prefix(address) for address in entry.addresses),
        resolution=entry.resolution,
        external=entry.location == "MESH_EXTERNAL",
        headless=False,
        export_to=limited_export(export_to, q(entry_visibility, id.namespace), id.namespace),
        created=entry.meta.created,
        source=Ref("ServiceEntry", entry.meta.namespace, entry.meta.name),
        selector=entry.workload_selector,
        aliases=q(aliases, id.host),
        labels=entry.meta.labels,
        subject_alt_names=entry.subject_alt_names,
        traffic_distribution=distribution_of(None, entry.meta.annotations),
        direct=(DIRECT, "true") in entry.meta.annotations,
        allocated=given_addresses(q, entry, id.host),
    )


def _distinct(ports: Iterable[Port]) -> tuple[Port, ...]:
    """The ports by number; the first of a number stays (port numbers name clusters)."""
    first: dict[int, Port] = {}
    for port in ports:
        first.setdefault(port.number, port)
    return tuple(first[number] for number in sorted(first))


def _without_host_prefix(address: str) -> str:
    """A CIDR that holds one address, as that address."""
    if "/" not in address:
        return address
    network = ipaddress.ip_network(address, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else address
