"""Endpoints of Kubernetes Services: from EndpointSlices, else Endpoints, else selected workloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.graph import Q, query
from controlplane.mesh.endpoint import NOWHERE, Endpoint
from controlplane.mesh.selected_endpoints import from_workloads, has_address
from controlplane.mesh.service import Port
from controlplane.mesh.workload import node_locality, pod_facts
from controlplane.model.keys import Key
from controlplane.model.kinds import endpoint_slices, endpoints, services
from controlplane.model.kinds.endpoints import (
    EndpointPort,
    Endpoints,
    EndpointSlice,
    ObjectReference,
    SliceEndpoint,
)
from controlplane.model.kinds.service import Service as KubernetesService
from controlplane.model.locality import Locality
from controlplane.model.tls_mode import said_mutual


def kubernetes_endpoints(q: Q, key: Key, port: Port) -> Iterator[Endpoint]:
    """The endpoints behind one port of a Kubernetes Service, in no particular order."""
    slices: list[EndpointSlice] = [
        q.get(endpoint_slices, name) for name in q.index(endpoint_slices, "service", key)
    ]
    if slices:
        # A pod of two families stands in two slices; it must not get twice the traffic.
        families = {part.address_type for part in slices}
        family = "IPv4" if "IPv4" in families else "IPv6"
        for part in slices:
            if part.address_type == family:
                yield from _of_slice(q, part, port)
        return
    older: Endpoints | None = q.get(endpoints, key)
    if older is not None:
        yield from _of_endpoints(q, older, port)
        return
    found: KubernetesService = q.get(services, key)
    if found.selector:
        unready = found.publish_not_ready_addresses
        chosen = from_workloads(q, key.namespace, found.selector, port, publish_unready=unready)
        yield from filter(has_address, chosen)


def _number(ports: Iterable[EndpointPort], port: Port) -> int | None:
    """Ports are joined by name; a port without a number means all ports: the one dialled."""
    for candidate in ports:
        if candidate.name == port.name and candidate.protocol in ("TCP", ""):
            return candidate.port or (port.target if isinstance(port.target, int) else port.number)
    return None


def _of_slice(q: Q, part: EndpointSlice, port: Port) -> Iterator[Endpoint]:
    number = _number(part.ports, port)
    if number is None:
        return
    for endpoint in part.endpoints:
        if endpoint.terminating or not endpoint.addresses:
            continue
        # The addresses of one endpoint are interchangeable; Kubernetes itself uses the first.
        address = endpoint.addresses[0]
        pod = _pod_of(endpoint.target_ref, part.meta.namespace)
        yield _endpoint(q, address, number, pod, endpoint)


def _of_endpoints(q: Q, older: Endpoints, port: Port) -> Iterator[Endpoint]:
    for subset in older.subsets:
        number = _number(subset.ports, port)
        if number is None:
            continue
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                pod = _pod_of(address.target_ref, older.meta.namespace)
                same = SliceEndpoint(
                    (address.ip,), ready, hostname=address.hostname, node_name=address.node_name
                )
                yield _endpoint(q, address.ip, number, pod, same)


def _pod_of(reference: ObjectReference | None, namespace: str) -> Key | None:
    if reference is None or reference.kind != "Pod":
        return None
    return Key(reference.namespace or namespace, reference.name)


def _endpoint(q: Q, address: str, port: int, pod: Key | None, said: SliceEndpoint) -> Endpoint:
    facts = None if pod is None else q(pod_facts, pod)
    place = facts.locality if facts is not None else q(node_locality, said.node_name or "")
    if place == NOWHERE and said.zone:
        place = Locality(zone=said.zone)
    return Endpoint(
        address=address,
        port=port,
        labels=() if facts is None else facts.labels,
        locality=place,
        healthy=said.ready,
        service_account="" if facts is None else facts.service_account,
        network="" if facts is None else facts.network,
        hostname=said.hostname or "",
        mutual=facts is not None and said_mutual(facts.labels),
        node=said.node_name or (facts.node if facts is not None else ""),
    )


@query
def slice_owner(q: Q, key: Key) -> Key | None:
    """The Service that an EndpointSlice belongs to."""
    part: EndpointSlice | None = q.get(endpoint_slices, key)
    return None if part is None else part.service


@query
def slice_ports(q: Q, key: Key, address: str) -> tuple[tuple[str, int], ...]:
    """The (name, number) pairs of the ports that an address has among a Service's written endpoints."""
    found: dict[str, int] = {}
    for name in q.index(endpoint_slices, "service", key):
        part: EndpointSlice = q.get(endpoint_slices, name)
        if any(address in endpoint.addresses for endpoint in part.endpoints):
            found.update({port.name: port.port for port in part.ports if port.port})
    older: Endpoints | None = q.get(endpoints, key)
    for subset in () if older is None else older.subsets:
        if any(address == a.ip for a in (*subset.addresses, *subset.not_ready_addresses)):
            found.update({port.name: port.port for port in subset.ports if port.port})
    return tuple(sorted(found.items()))
