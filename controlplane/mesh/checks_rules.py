"""Checks of DestinationRules against services and against each other."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_peers import tls_findings
from controlplane.mesh.checks_refused import or_refused_for
from controlplane.mesh.checks_subsets import empty_subsets, idle_preferences, missing_credentials
from controlplane.mesh.hosts import kubernetes_host
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.rules import merged_rule, rule_keys
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
        *idle_preferences(q, rule),
        *missing_credentials(q, rule),
    ]
    return tuple(as_problem("DestinationRule", key, finding) for finding in findings)


def _host(q: Q, rule: DestinationRule) -> Iterator[Finding]:
    namespace = rule.meta.namespace
    host = fqdn(rule.host, namespace)
    if host.startswith("*"):
        return
    nearest = q(nearest_service, namespace, host)
    if nearest is None:
        yield unknown_host(q, "spec.host", host, namespace)
        return
    yield from empty_subsets(q, rule, nearest)
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
    oldest = f"DestinationRule {keys[0].namespace}/{keys[0].name}" if keys else ""
    if key not in keys:
        yield from _apart(q, rule, keys, oldest)
        return
    if keys[0] == key:
        yield from _wins(q, rule, keys[1:])
        return
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


def _apart(q: Q, rule: DestinationRule, keys: tuple[Key, ...], oldest: str) -> Iterator[Finding]:
    """A rule for the same host that cannot be joined, because it holds elsewhere."""
    first: DestinationRule | None = q.get(destination_rules, keys[0]) if keys else None
    host = fqdn(rule.host, rule.meta.namespace)
    if (
        first is not None
        and keys[0].namespace == rule.meta.namespace
        and fqdn(first.host, keys[0].namespace) == host
    ):
        yield Finding(
            "spec.exportTo",
            f"{oldest} is for the same host and exported elsewhere, so that the two are not joined: "
            f"in namespace {rule.meta.namespace} this one is not used",
            "say the same exportTo in both",
        )


def _wins(q: Q, rule: DestinationRule, younger: tuple[Key, ...]) -> Iterator[Finding]:
    """What of younger rules for the host is left out because this one says it."""
    named = {subset.name: n for n, subset in enumerate(rule.subsets)}
    for key in younger:
        other: DestinationRule = q.get(destination_rules, key)
        loser = f"DestinationRule {key.namespace}/{key.name}"
        if other.traffic_policy is not None:
            yield Finding(
                "spec.trafficPolicy" if rule.traffic_policy is not None else "spec.host",
                f"keeps out the trafficPolicy of {loser}, which is younger and for the same host",
                "have one of them say it all",
            )
        for subset in other.subsets:
            if subset.name in named:
                yield Finding(
                    f"spec.subsets[{named[subset.name]}].name",
                    f"keeps out the subset of that name of {loser}, which is younger and for the same host",
                    "use another name in one of them",
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
    name, _, where = host.partition(".")
    full = kubernetes_host(Key(where, name))
    if where and "." not in where and q(services_of_host, full):
        remedy = f"write {full}: only a name without a dot is completed"
    else:
        remedy = "create it, or correct the host (a short name means a service of the object's own namespace)"
    missing = Finding(field, f"there is no service {host}", remedy)
    return or_refused_for(q, missing, host, "Service", "ServiceEntry")


def unknown_port(field: str, port: int, host: str, known: set[int]) -> Finding:
    """The service has no such port."""
    has = ", ".join(map(str, sorted(known))) or "none"
    return Finding(field, f"service {host} has no port {port}", f"use one of its ports: {has}")
