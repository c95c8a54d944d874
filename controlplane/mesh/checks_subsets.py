"""Checks of what a DestinationRule asks for in vain: parts without endpoints, order without a judge.

Whether endpoints are chosen is asked by yes or no, so that endpoints that come and go re-check nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, contains, query
from controlplane.mesh.checks_credentials import at_gateways
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.checks_refused import or_refused
from controlplane.mesh.endpoints import endpoints
from controlplane.mesh.service import ServiceId, service, service_ports
from controlplane.mesh.settings import default_policy
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import secrets
from controlplane.model.kinds.destination_rule import (
    DestinationRule,
    PortTrafficPolicy,
    TrafficPolicy,
    credentials,
)

_CONFIG_MAP = "configmap://"
ZONES_ALIKE = "orders regions alone: within one, zones are alike, for proxies have no local_cluster"


def empty_subsets(q: Q, rule: DestinationRule, id: ServiceId) -> Iterator[Finding]:
    """Subsets that choose none of the endpoints that the service has."""
    found = q(service, id)
    if found is None or (found.resolution == "NONE" and not found.headless):
        return
    for n, subset in enumerate(rule.subsets):
        if subset.labels and not q(has_endpoints, id, subset.labels) and q(has_endpoints, id, ()):
            yield Finding(
                f"spec.subsets[{n}].labels",
                f"choose none of the endpoints of {id.host}: calls to subset {subset.name} fail",
                "use labels that its workloads have, or start some that have these",
            )


@query
def has_endpoints(q: Q, id: ServiceId, labels: Labels) -> bool:
    """Whether a service has an endpoint with these labels, ready or not."""
    ports = q(service_ports, id)
    return any(contains(one.labels, labels) for port in ports for one in q(endpoints, id, port.number))


def idle_preferences(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    """Orders of endpoints that nothing puts into force, and those that Envoy cannot keep to."""
    inherited = q(default_policy).outlier_detection is not None
    top = rule.traffic_policy
    counted = inherited or (top is not None and top.outlier_detection is not None)
    policies = [("spec.trafficPolicy", top, inherited)]
    policies += [
        (f"spec.subsets[{n}].trafficPolicy", one.traffic_policy, counted)
        for n, one in enumerate(rule.subsets)
    ]
    for path, policy, judged in policies:
        if policy is not None:
            yield from _idle(path, policy, judged=judged)
            for n, level in enumerate(policy.port_level_settings):
                yield from _idle(f"{path}.portLevelSettings[{n}]", level, judged=inherited)


def _idle(path: str, policy: TrafficPolicy | PortTrafficPolicy, *, judged: bool) -> Iterator[Finding]:
    balancer = policy.load_balancer
    judged = judged or policy.outlier_detection is not None
    locality = None if balancer is None else balancer.locality_lb_setting
    zones = None if balancer is None else balancer.zone_aware_lb_setting
    shares = locality is not None and bool(locality.distribute)
    for name, said in (("localityLbSetting", None if shares else locality), ("zoneAwareLbSetting", zones)):
        if said is None or said.enabled is False or judged:
            continue
        yield Finding(
            f"{path}.loadBalancer.{name}",
            "has no effect without outlierDetection: nobody would know that those first in line have failed",
            "say outlierDetection beside it",
        )
    if zones is not None and zones.enabled is not False and judged:
        yield Finding(
            f"{path}.loadBalancer.zoneAwareLbSetting",
            ZONES_ALIKE,
            "use localityLbSetting to keep to the zone",
        )


def missing_credentials(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    """Secrets that clusters would wait for in vain."""
    for path, tls in credentials(rule):
        name = tls.credential_name or ""
        if name.startswith(_CONFIG_MAP):
            yield Finding(
                f"spec.{path}.credentialName",
                "names a ConfigMap, which is not supported: ConfigMaps are not read",
                "use a Secret with the authorities as ca.crt",
            )
        elif not rule.workload_selector:
            yield from at_gateways(q, rule, f"spec.{path}.credentialName", name)
        elif q.get(secrets, key := Key(rule.meta.namespace, name)) is None:
            missing = Finding(
                f"spec.{path}.credentialName",
                f"there is no Secret {rule.meta.namespace}/{name}: calls fail until there is one",
                "create it, or correct the name",
            )
            yield or_refused(q, missing, "Secret", key)
