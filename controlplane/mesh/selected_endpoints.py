"""Endpoints of workloads: Pods and WorkloadEntries chosen by labels, and those a ServiceEntry lists."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q
from controlplane.mesh.endpoint import Endpoint
from controlplane.mesh.service import Port
from controlplane.mesh.workload import pod_facts, pod_state
from controlplane.model.checks import UNIX
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import pods, service_entries, workload_entries
from controlplane.model.kinds.service_entry import ServiceEntry
from controlplane.model.kinds.workload_entry import WorkloadEntry, WorkloadEntrySpec
from controlplane.model.locality import parse_locality
from controlplane.model.tls_mode import said_mutual


def from_workloads(
    q: Q, namespace: str, selector: Labels, port: Port, *, publish_unready: bool = False
) -> Iterator[Endpoint]:
    """The Pods and WorkloadEntries of a namespace whose labels contain `selector`."""
    for key in q.select(pods, namespace, selector):
        endpoint = _of_pod(q, key, port, publish_unready)
        if endpoint is not None:
            yield endpoint
    for key in q.select(workload_entries, namespace, selector):
        entry: WorkloadEntry = q.get(workload_entries, key)
        yield of_entry(entry.spec, entry.labels, port)


def entry_endpoints(q: Q, key: Key, host: str, port: Port) -> Iterator[Endpoint]:
    """The endpoints behind one port of a ServiceEntry's host.

    With resolution STATIC, addresses that are names are left out: nobody would resolve them.
    """
    entry: ServiceEntry = q.get(service_entries, key)
    if entry.workload_selector is not None:
        found = list(from_workloads(q, key.namespace, entry.workload_selector, port))
    else:
        found = [of_entry(endpoint, endpoint.labels, port) for endpoint in entry.endpoints]
    by_name = entry.resolution in ("DNS", "DNS_ROUND_ROBIN")
    if by_name and not found and not host.startswith("*"):
        found = [Endpoint(host, _declared(port))]
    for endpoint in found:
        if by_name or has_address(endpoint):
            yield endpoint


def has_address(endpoint: Endpoint) -> bool:
    """Whether it can be dialled as it is: Envoy refuses all endpoints of a cluster for one that is a name."""
    return is_address(endpoint.address) or endpoint.address.startswith(UNIX)


def of_entry(spec: WorkloadEntrySpec, labels: Labels, port: Port) -> Endpoint:
    """The endpoint that a WorkloadEntry, inline or not, is for this port."""
    unix = spec.address.startswith(UNIX)
    return Endpoint(
        address=spec.address,
        port=0 if unix else entry_port(spec, port),
        labels=labels,
        locality=parse_locality(spec.locality or ""),
        weight=spec.weight or 1,
        service_account=spec.service_account or "",
        network=spec.network or "",
        # Who is given a service account has a certificate for it, if nothing else is said.
        mutual=said_mutual(labels, default=bool(spec.service_account)),
    )


def entry_port(spec: WorkloadEntrySpec, port: Port) -> int:
    """Where a WorkloadEntry answers: its own port of that name, else the service's target."""
    return dict(spec.ports).get(port.name) or _declared(port)


def _declared(port: Port) -> int:
    return port.target if isinstance(port.target, int) else port.number


def _of_pod(q: Q, key: Key, port: Port, publish_unready: bool) -> Endpoint | None:
    state, facts = q(pod_state, key), q(pod_facts, key)
    if state is None or facts is None or not state.ips or state.terminating:
        return None
    number = facts.port(port.target) if isinstance(port.target, str) else _declared(port)
    if number is None:
        return None
    return Endpoint(
        address=state.ips[0],
        port=number,
        labels=facts.labels,
        locality=facts.locality,
        healthy=state.ready or publish_unready,
        service_account=facts.service_account,
        network=facts.network,
        mutual=said_mutual(facts.labels),
        node=facts.node,
    )
