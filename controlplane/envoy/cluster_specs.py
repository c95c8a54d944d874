"""Which clusters a service has: one per port and subset, and how each finds its endpoints.

CDS and EDS both follow this list, so that every EDS cluster has endpoints and nothing else does.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy import names
from controlplane.envoy.dynamic_dns import DISCOVERY as DYNAMIC
from controlplane.graph import Q, query
from controlplane.mesh.locality import ANYWHERE, Place, Preference
from controlplane.mesh.locality_preference import preference_of
from controlplane.mesh.rules import MergedRule, merged_rule, policy_of
from controlplane.mesh.service import Service, ServiceId, service
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.destination_rule import PortTrafficPolicy, TrafficPolicy
from controlplane.model.kinds.tls import ORIGINATED

_DISCOVERY = {
    "STATIC": "EDS",
    "DNS": "STRICT_DNS",
    "DNS_ROUND_ROBIN": "LOGICAL_DNS",
    "NONE": "ORIGINAL_DST",
    "DYNAMIC_DNS": DYNAMIC,
}


class Spec(NamedTuple):
    """One cluster: `discovery` is EDS, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST or DYNAMIC.

    `labels` choose a subset's endpoints; `subset` is "" for the whole service.  `send_unhealthy`:
    endpoints that are not ready are sent, marked so.  `preference`: what of the caller's place counts, None
    if nothing does; `place`: where those callers stand, as far as it counts, whom the cluster is made for.
    `wanted` names the Secret with the certificates of its TLS; `credential` too, "" where it is not this
    proxy's to read.
    """

    name: str
    port: int
    subset: str
    discovery: str
    labels: Labels
    send_unhealthy: bool
    preference: Preference | None = None
    place: Place = ANYWHERE
    credential: str = ""
    wanted: str = ""

    @property
    def placed(self) -> bool:
        """Whether callers at different places are given different endpoints."""
        return self.preference is not None and self.discovery in ("EDS", "STRICT_DNS")


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
        for subset in subsets.items():
            spec = _spec(q, found, merged, port.number, subset)
            if spec is not None:
                specs.append(spec)
    return tuple(specs)


def _spec(
    q: Q, found: Service, merged: MergedRule | None, port: int, subset: tuple[str, Labels]
) -> Spec | None:
    part, labels = subset
    policy = policy_of(q, merged, port, part)
    discovery = _discovery(found, policy)
    if discovery is None:
        return None
    name = names.outbound_cluster(port, part, found.id.host)
    # Where a share of the endpoints must be healthy for ejection to go on, the others would count.
    outlier = policy.outlier_detection
    send_unhealthy = outlier is None or not outlier.min_health_percent
    preference = preference_of(q, found, policy)
    wanted = credential_of(policy)
    return Spec(
        name,
        port,
        part,
        discovery,
        labels,
        send_unhealthy,
        preference,
        # A sidecar may read Secrets if a rule of its namespace has chosen it by its labels.
        credential=wanted if merged is not None and merged.selected else "",
        wanted=wanted,
    )


def credential_of(policy: TrafficPolicy | PortTrafficPolicy) -> str:
    """The Secret with the certificates of a policy's TLS, "" for none."""
    tls = policy.tls
    return (tls.credential_name or "") if tls is not None and tls.mode in ORIGINATED else ""


def _discovery(found: Service, policy: TrafficPolicy) -> str | None:
    """None: a resolution that has no cluster here."""
    balancer = policy.load_balancer
    if balancer is not None and balancer.simple == "PASSTHROUGH":
        return "ORIGINAL_DST"
    return _DISCOVERY.get(found.resolution)
