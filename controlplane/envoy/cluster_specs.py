"""Which clusters a service has: one per port and subset, and how each finds its endpoints.

CDS and EDS both follow this list, so that every EDS cluster has endpoints and nothing else does.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy import names
from controlplane.graph import Q, query
from controlplane.mesh.rules import MergedRule, effective_policy, merged_rule
from controlplane.mesh.service import Service, ServiceId, service
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.destination_rule import TrafficPolicy

_DISCOVERY = {
    "STATIC": "EDS",
    "DNS": "STRICT_DNS",
    "DNS_ROUND_ROBIN": "LOGICAL_DNS",
    "NONE": "ORIGINAL_DST",
}


class Spec(NamedTuple):
    """One cluster: `discovery` is EDS, STRICT_DNS, LOGICAL_DNS or ORIGINAL_DST.

    `labels` choose a subset's endpoints; `subset` is "" for the whole service.  `send_unhealthy`:
    endpoints that are not ready are sent, marked so.
    """

    name: str
    port: int
    subset: str
    discovery: str
    labels: Labels
    send_unhealthy: bool


@query
def cluster_specs(
    q: Q, id: ServiceId, rule: tuple[Key, ...], ports: tuple[int, ...] | None
) -> tuple[Spec, ...]:
    """The clusters of a service under these DestinationRules; `ports` None means all ports."""
    found = q(service, id)
    if found is None:
        return ()
    merged = q(merged_rule, rule) if rule else None
    subsets = {"": ()} | ({} if merged is None else {s.name: s.labels for s in merged.subsets if s.name})
    specs: list[Spec] = []
    for port in found.ports:
        if ports is not None and port.number not in ports:
            continue
        for subset, labels in subsets.items():
            spec = _spec(found, merged, port.number, subset, labels)
            if spec is not None:
                specs.append(spec)
    return tuple(specs)


def _spec(found: Service, merged: MergedRule | None, port: int, subset: str, labels: Labels) -> Spec | None:
    policy = effective_policy(merged, port, subset)
    discovery = _discovery(found, policy)
    if discovery is None:
        return None
    name = names.outbound_cluster(port, subset, found.id.host)
    # Where a share of the endpoints must be healthy for ejection to go on, the others would count.
    outlier = policy.outlier_detection
    send_unhealthy = outlier is None or not outlier.min_health_percent
    return Spec(name, port, subset, discovery, labels, send_unhealthy)


def _discovery(found: Service, policy: TrafficPolicy) -> str | None:
    """None: a resolution that has no cluster here."""
    balancer = policy.load_balancer
    if balancer is not None and balancer.simple == "PASSTHROUGH":
        return "ORIGINAL_DST"
    return _DISCOVERY.get(found.resolution)
