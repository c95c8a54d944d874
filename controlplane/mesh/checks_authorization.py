"""Checks of AuthorizationPolicies: selectors that select nobody, HTTP where none is spoken, who is asked,
and ports of services where those of workloads count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.graph import Q, contains, query
from controlplane.mesh.authorization_providers import authorizer, authorizers
from controlplane.mesh.authorization_rules import http_fields, token_fields
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_ports import renamed, targets_of
from controlplane.mesh.checks_selectors import unselected
from controlplane.mesh.hosts import kubernetes_host
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.settings import root_namespace
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import authorization_policies, services
from controlplane.model.kinds.authorization_policy import AuthorizationPolicy, Rule
from controlplane.model.problem import Problem


@query
def authorization_policy_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one AuthorizationPolicy."""
    policy: AuthorizationPolicy | None = q.get(authorization_policies, key)
    if policy is None:
        return ()
    chosen = unselected(q, key.namespace, policy.selector)
    findings = [*chosen, *_provider(q, policy), *_ports(q, policy), *_renamed(q, policy)]
    return tuple(as_problem("AuthorizationPolicy", key, finding) for finding in findings)


def _provider(q: Q, policy: AuthorizationPolicy) -> Iterator[Finding]:
    if policy.action != "CUSTOM":
        return
    name = policy.provider
    known = q(authorizers)
    said = dict(known).get(name)
    if said is None:
        yield Finding(
            "spec.provider.name",
            f"there is no extensionProvider {name!r} that authorizes: what the rules match is denied",
            "add it to the MeshConfig as envoyExtAuthzHttp or envoyExtAuthzGrpc",
        )
    elif authorizer(q, name) is None:
        yield Finding(
            "spec.provider.name",
            f"there is no service {said.service} with port {said.port}, which {name!r} names: "
            "what the rules match is denied",
            "create the service, or correct the extensionProvider",
        )
    for index, rule in enumerate(policy.rules):
        if token_fields(rule):
            yield Finding(
                f"spec.rules[{index}]",
                "asks about tokens, which are checked later: nobody has one when the provider would be asked",
                "ask about something else, or let the provider check the token",
            )


def _ports(q: Q, policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Rules that name a port and want something from it that is not spoken there."""
    for index, rule in enumerate(policy.rules):
        if not http_fields(rule):
            continue
        named = {port for operation in rule.operations for port in operation.ports}
        named |= {port for one in rule.conditions if one.key == "destination.port" for port in one.values}
        if policy.action == "DENY" and not named:
            yield from _widened(index, sorted(set(_opaque(q, policy)) - _spared(rule), key=int))
        for port in sorted(named & set(_opaque(q, policy))):
            effect = "is left out there" if policy.action == "ALLOW" else "holds for every connection to it"
            yield Finding(
                f"spec.rules[{index}]",
                f"port {port} speaks no HTTP: the rule, which asks about requests, {effect}",
                "make two rules of it",
            )


def _widened(index: int, ports: list[str]) -> Iterator[Finding]:
    """A denial of some requests that closes ports which its author may not have thought of."""
    if ports:
        yield Finding(
            f"spec.rules[{index}]",
            f"asks about requests, and names no ports: at port {ports[0]}, where no HTTP is spoken, "
            "it counts without that, and so for more connections",
            "name the ports that are meant",
        )


def _spared(rule: Rule) -> set[str]:
    """The ports that no operation of a rule is about."""
    found = [{*operation.not_ports} for operation in rule.operations]
    return set.intersection(*found) if found else set()


def _chosen(selector: Labels, of_service: Labels) -> bool:
    return not selector or contains(selector, of_service)


def _chosen_services(q: Q, policy: AuthorizationPolicy) -> tuple[Key, ...]:
    """The services of the policy's namespace, all of whose workloads it holds for if it holds for some."""
    return tuple(
        key
        for key in q.index(services, "namespace", policy.meta.namespace)
        if (found := q(service, ServiceId(kubernetes_host(key), key.namespace))) is not None
        and found.selector
        and _chosen(policy.selector, found.selector)
    )


def _opaque(q: Q, policy: AuthorizationPolicy) -> Iterable[str]:
    """The workload ports without HTTP of the services whose workloads the policy holds for."""
    for key in _chosen_services(q, policy):
        found = q(service, ServiceId(kubernetes_host(key), key.namespace))
        if found is None:
            continue
        for port in found.ports:
            if port.protocol != AUTO and port.protocol not in HTTP_LIKE:
                yield from map(str, targets_of(q, found, port))


def _renamed(q: Q, policy: AuthorizationPolicy) -> Iterator[Finding]:
    """Numbers of services' ports where those of workloads are meant."""
    said = [*_numbers(policy)]
    if not said or policy.targets:
        return
    if policy.meta.namespace != q(root_namespace):
        of = _chosen_services(q, policy)
    else:
        # For the whole mesh a number may be anybody's: only a selector says whose ports are meant.
        of = q.selecting(services, "", policy.selector) if policy.selector else ()
    for field, number in said:
        found = renamed(q, of, number) if of else None
        if found is not None:
            yield Finding(field, f"{number} {found.message}", found.remedy)


def _numbers(policy: AuthorizationPolicy) -> Iterator[tuple[str, int]]:
    """Each port that a policy names, with where it stands."""
    for index, rule in enumerate(policy.rules):
        at = f"spec.rules[{index}]"
        for to, operation in enumerate(rule.operations):
            for name, ports in (("ports", operation.ports), ("notPorts", operation.not_ports)):
                yield from _each(f"{at}.to[{to}].operation.{name}", ports)
        for when, condition in enumerate(rule.conditions):
            if condition.key == "destination.port":
                yield from _each(f"{at}.when[{when}].values", condition.values)
                yield from _each(f"{at}.when[{when}].notValues", condition.not_values)


def _each(field: str, ports: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    yield from ((f"{field}[{index}]", int(port)) for index, port in enumerate(ports))
