"""Checks of VirtualServices: do their destinations exist, and does anybody else speak for their hosts."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_gateways import bindings
from controlplane.mesh.checks_refused import or_refused_for
from controlplane.mesh.checks_routes_delegates import of_delegate, of_root
from controlplane.mesh.checks_routes_matches import idle_matches
from controlplane.mesh.checks_routes_reach import rivals, shared_names, unreached
from controlplane.mesh.checks_rules import unknown_host, unknown_port
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing import Attachment, attachment, virtual_service
from controlplane.mesh.rules import destination_rule, merged_rule, rule_head, rules_for_host
from controlplane.mesh.service import ServiceId, alias_target, service_ports
from controlplane.mesh.settings import exported
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.http_route import Destination
from controlplane.model.kinds.virtual_service import VirtualService
from controlplane.model.problem import Problem


@query
def virtual_service_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one VirtualService."""
    route: VirtualService | None = q.get(virtual_services, key)
    if route is None:
        return ()
    findings = [
        finding
        for field, destination in _destinations(route)
        for finding in _destination(q, key.namespace, field, destination)
    ]
    findings += _hosts(q, route)
    findings += of_root(q, route) if route.hosts else of_delegate(q, route)
    findings += unreached(route)
    findings += shared_names(q, route)
    findings += bindings(q, route)
    findings += idle_matches(q, route)
    return tuple(as_problem("VirtualService", key, finding) for finding in findings)


def _destinations(route: VirtualService) -> Iterator[tuple[str, Destination]]:
    for n, rule in enumerate(route.http):
        for m, share in enumerate(rule.route):
            yield f"spec.http[{n}].route[{m}].destination", share.destination
        for m, mirror in enumerate(rule.mirrors):
            yield f"spec.http[{n}].mirrors[{m}].destination", mirror.destination
    for n, tls in enumerate(route.tls):
        for m, part in enumerate(tls.route):
            yield f"spec.tls[{n}].route[{m}].destination", part.destination
    for n, tcp in enumerate(route.tcp):
        for m, part in enumerate(tcp.route):
            yield f"spec.tcp[{n}].route[{m}].destination", part.destination


def _destination(q: Q, namespace: str, field: str, destination: Destination) -> Iterator[Finding]:
    if not destination.host:
        return
    host = q(alias_target, fqdn(destination.host, namespace))
    id = q(nearest_service, namespace, host)
    if id is None:
        yield unknown_host(q, f"{field}.host", host, namespace)
        return
    numbers = {port.number for port in q(service_ports, id)}
    if destination.port is not None and destination.port not in numbers:
        yield unknown_port(f"{field}.port.number", destination.port, host, numbers)
    elif destination.port is None and len(numbers) > 1:
        yield Finding(
            f"{field}.port",
            f"service {host} has several ports; requests keep the port that they were sent to",
            "name the port: " + ", ".join(map(str, sorted(numbers))),
        )
    if destination.subset and not _selected(q, namespace, id, destination.subset):
        yield from _subset(q, namespace, f"{field}.subset", destination.subset, id)


def _subset(q: Q, namespace: str, field: str, subset: str, id: ServiceId) -> Iterator[Finding]:
    rule = q(destination_rule, namespace, id)
    if rule is None:
        missing = Finding(
            field,
            f"no DestinationRule defines subsets of {id.host}",
            f"create a DestinationRule for {id.host} with a subset {subset!r}",
        )
        yield or_refused_for(q, missing, id.host, "DestinationRule")
    elif rule.subset(subset) is None:
        known = ", ".join(sorted(one.name for one in rule.subsets)) or "none"
        names = " and ".join(f"{ref.namespace}/{ref.name}" for ref in rule.sources)
        missing = Finding(
            field,
            f"{id.host} has no subset {subset!r}",
            f"add it to DestinationRule {names}, or use one of its subsets: {known}",
        )
        yield or_refused_for(q, missing, id.host, "DestinationRule")


def _selected(q: Q, namespace: str, id: ServiceId, subset: str) -> bool:
    """Whether a rule with a workloadSelector defines the subset: its workloads have it."""
    return any(
        key.namespace == namespace
        and q(rule_head, key).selector is not None
        and q(merged_rule, (key,)).subset(subset) is not None
        for key in q(rules_for_host, id.host)
    )


def _hosts(q: Q, route: VirtualService) -> Iterator[Finding]:
    """For sidecars one VirtualService speaks for a host, and nothing is merged: winner and loser are told."""
    mine = q(attachment, route.meta.key)
    for index, text in enumerate(() if mine is None else route.hosts):
        host = fqdn(text, route.meta.namespace)
        for other in rivals(q, route.meta.key, host):
            theirs = q(attachment, other)
            if mine is None or theirs is None:
                continue
            at = f"spec.hosts[{index}]"
            for namespace in _lost(q, mine, host, other):
                yield Finding(
                    at,
                    f"VirtualService {other.namespace}/{other.name} speaks for {host}; "
                    f"in namespace {namespace} this one is not used",
                    "merge the two",
                )
            for namespace in _lost(q, theirs, host, mine.key):
                yield Finding(
                    at,
                    f"in namespace {namespace} this one speaks for {host}, "
                    f"and VirtualService {other.namespace}/{other.name} is not used",
                    "merge the two",
                )


def _lost(q: Q, loser: Attachment, host: str, winner: Key) -> Iterator[str]:
    """Where a VirtualService has to leave a host to another: at home, or else where it is exported to."""
    home = loser.key.namespace
    for namespace in (home,) if exported(loser.export_to, home) else loser.export_to:
        scope = Scope(namespace)
        if any(virtual_service(q, scope, host, layer) == winner for layer in loser.layers):
            yield namespace
