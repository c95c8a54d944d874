"""Checks of mutual TLS: policies that nobody hears, and clients that do not speak what servers take."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_ports import renamed
from controlplane.mesh.checks_selectors import unselected
from controlplane.mesh.endpoints import mutual_endpoints
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.peer_authentication import workload_mode
from controlplane.mesh.service import Port, Service, service
from controlplane.mesh.settings import root_namespace
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import peer_authentications, services
from controlplane.model.kinds.destination_rule import DestinationRule, TrafficPolicy
from controlplane.model.kinds.peer_authentication import PeerAuthentication
from controlplane.model.problem import Problem


@query
def peer_authentication_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one PeerAuthentication."""
    policy: PeerAuthentication | None = q.get(peer_authentications, key)
    if policy is None:
        return ()
    findings = [*_unheard(q, key, policy), *_ports(q, key, policy)]
    return tuple(as_problem("PeerAuthentication", key, finding) for finding in findings)


def _unheard(q: Q, key: Key, policy: PeerAuthentication) -> Iterator[Finding]:
    if policy.selector and key.namespace == q(root_namespace):
        yield Finding(
            "spec.selector",
            "chooses workloads in the root namespace, where only policies for the whole mesh count: "
            "this one is not used",
            "remove the selector, or move it into the namespace of the workloads",
        )
        return
    for other in q.index(peer_authentications, "namespace", key.namespace):
        found: PeerAuthentication = q.get(peer_authentications, other)
        if found.selector == policy.selector and (found.meta.created, other) < (policy.meta.created, key):
            yield Finding(
                "spec.selector",
                f"PeerAuthentication {other.namespace}/{other.name} is older and for the same workloads: "
                "this one is not used",
                "merge the two",
            )
            return
    yield from unselected(q, key.namespace, policy.selector)


def _ports(q: Q, key: Key, policy: PeerAuthentication) -> Iterator[Finding]:
    """Numbers of services' ports where those of workloads are meant."""
    for port, _ in policy.ports:
        found = renamed(q, q.selecting(services, key.namespace, policy.selector), port)
        if found is not None:
            yield Finding(f"spec.portLevelMtls[{port}]", found.message, found.remedy)


def tls_findings(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    """Where a DestinationRule has clients speak what servers refuse."""
    host = fqdn(rule.host, rule.meta.namespace)
    id = None if host.startswith("*") else q(nearest_service, rule.meta.namespace, host)
    found = None if id is None else q(service, id)
    if found is None or found.external:
        return
    blocks = [("spec.trafficPolicy", rule.traffic_policy)]
    blocks += [(f"spec.subsets[{n}].trafficPolicy", s.traffic_policy) for n, s in enumerate(rule.subsets)]
    for path, policy in blocks:
        if policy is not None:
            yield from _against_servers(q, found, path, policy)


def _against_servers(q: Q, found: Service, path: str, policy: TrafficPolicy) -> Iterator[Finding]:
    leveled = {level.port for level in policy.port_level_settings}
    rest = [port for port in found.ports if port.number not in leveled]
    said = [(f"{path}.tls.mode", policy.tls, rest)]
    for n, level in enumerate(policy.port_level_settings):
        one = found.port(level.port)
        said.append((f"{path}.portLevelSettings[{n}].tls.mode", level.tls, [] if one is None else [one]))
    for field, tls, ports in said:
        finding = next(filter(None, (_clash(q, found, tls.mode, p) for p in ports)), None) if tls else None
        if finding is not None:
            yield finding._replace(field=field)


def _clash(q: Q, found: Service, mode: str, port: Port) -> Finding | None:
    share = q(mutual_endpoints, found.id, port.number)
    if mode == "ISTIO_MUTUAL" and share == "none":
        message = f"no endpoint of port {port.number} takes mutual TLS: calls fail"
        return Finding("", message, "remove it: mutual TLS is used by itself where it is taken")
    if mode == "DISABLE" and share == "all" and isinstance(port.target, int | None):
        target = port.target or port.number
        if workload_mode(q, found.id.namespace, found.selector or (), target) == "STRICT":
            message = (
                f"the servers of port {port.number} take mutual TLS alone: calls in plaintext are refused"
            )
            return Finding("", message, "remove it, or have a PeerAuthentication say PERMISSIVE")
    return None
