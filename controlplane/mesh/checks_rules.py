"""Checks of DestinationRules against services and against each other."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, warning, without_effect
from controlplane.mesh.checks_peers import tls_findings
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.rules import merged_rule, rule_keys, unsupported
from controlplane.mesh.service import ServiceId, service, services_of_host
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import destination_rules
from controlplane.model.kinds.destination_rule import DestinationRule
from controlplane.model.problem import Problem


@query
def destination_rule_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one DestinationRule."""
    rule: DestinationRule | None = q.get(destination_rules, key)
    if rule is None:
        return ()
    findings = [
        *_host(q, rule),
        *_joined(q, rule),
        *tls_findings(q, rule),
        *map(without_effect, unsupported(rule)),
    ]
    return tuple(warning("DestinationRule", key, finding) for finding in findings)


def _host(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    namespace = rule.meta.namespace
    host = fqdn(rule.host, namespace)
    if host.startswith("*"):
        return
    if q(nearest_service, namespace, host) is None:
        yield unknown_host(q, "spec.host", host, namespace)
        return
    numbers = {
        port.number
        for id in q(services_of_host, host)
        if (found := q(service, id)) is not None
        for port in found.ports
    }
    for path, policy in (
        ("spec.trafficPolicy", rule.traffic_policy),
        *((f"spec.subsets[{n}].trafficPolicy", s.traffic_policy) for n, s in enumerate(rule.subsets)),
    ):
        for index, level in enumerate(() if policy is None else policy.port_level_settings):
            if level.port not in numbers:
                yield unknown_port(
                    f"{path}.portLevelSettings[{index}].port.number", level.port, host, numbers
                )


def _joined(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    """Rules for one host are joined; the older one's words stay."""
    if rule.workload_selector:
        return
    namespace, key = rule.meta.namespace, rule.meta.key
    host = fqdn(rule.host, namespace)
    keys = q(rule_keys, namespace, ServiceId(host, namespace), ())
    if key not in keys or keys[0] == key:
        return
    oldest = f"DestinationRule {keys[0].namespace}/{keys[0].name}"
    if rule.traffic_policy is not None:
        yield Finding(
            "spec.trafficPolicy",
            f"has no effect: {oldest} is older and speaks for the same host",
            f"move it into {oldest}, or remove that one",
        )
    older = q(merged_rule, keys[: keys.index(key)])
    for index, subset in enumerate(rule.subsets):
        if older.subset(subset.name) is not None:
            yield Finding(
                f"spec.subsets[{index}].name",
                f"an older DestinationRule for the host has a subset {subset.name!r}; this one is dropped",
                "use another name",
            )


def unknown_host(q: Q, field: str, host: str, namespace: str) -> Finding:
    """No service that this namespace sees has this host."""
    hidden = q(services_of_host, host)
    if hidden:
        owner = hidden[0].namespace
        return Finding(
            field,
            f"service {host} of namespace {owner} is not exported to namespace {namespace}",
            f"add {namespace} to the service's exportTo",
        )
    return Finding(
        field,
        f"there is no service {host}",
        "create it, or correct the host (a short name means a service of the object's own namespace)",
    )


def unknown_port(field: str, port: int, host: str, known: set[int]) -> Finding:
    """The service has no such port."""
    has = ", ".join(map(str, sorted(known))) or "none"
    return Finding(field, f"service {host} has no port {port}", f"use one of its ports: {has}")
