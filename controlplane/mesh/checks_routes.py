"""Checks of VirtualServices: do their destinations exist, and does anybody else speak for their hosts."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, warning, without_effect
from controlplane.mesh.checks_gateways import bindings
from controlplane.mesh.checks_rules import unknown_host, unknown_port
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing import Layer, attachment, virtual_service
from controlplane.mesh.routing_unsupported import unsupported
from controlplane.mesh.rules import destination_rule
from controlplane.mesh.service import alias_target, service_ports
from controlplane.model.claims import is_claim
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.gateway import MESH
from controlplane.model.kinds.http_route import Destination
from controlplane.model.kinds.virtual_service import VirtualService
from controlplane.model.problem import Problem

LAYERS: tuple[Layer, ...] = ("http", "tls", "tcp")


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
    findings += _delegates(q, route)
    findings += bindings(q, route)
    findings += _claims(route)
    # What is wrong with a delegate is told better by itself.
    findings += (without_effect(path) for path in unsupported(route) if not path.endswith(".delegate"))
    return tuple(warning("VirtualService", key, finding) for finding in findings)


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
    if destination.subset:
        rule = q(destination_rule, namespace, id)
        if rule is None:
            yield Finding(
                f"{field}.subset",
                f"no DestinationRule defines subsets of {host}",
                f"create a DestinationRule for {host} with a subset {destination.subset!r}",
            )
        elif rule.subset(destination.subset) is None:
            known = ", ".join(sorted(subset.name for subset in rule.subsets)) or "none"
            names = " and ".join(f"{ref.namespace}/{ref.name}" for ref in rule.sources)
            yield Finding(
                f"{field}.subset",
                f"{host} has no subset {destination.subset!r}",
                f"add it to DestinationRule {names}, or use one of its subsets: {known}",
            )


def _hosts(q: Q, route: VirtualService) -> Iterator[Finding]:
    """For sidecars one VirtualService speaks for a host, and nothing is merged: is it this one at home?"""
    if q(attachment, route.meta.key) is None:
        return
    key, scope = route.meta.key, Scope(route.meta.namespace)
    for index, text in enumerate(route.hosts):
        host = fqdn(text, key.namespace)
        if key not in q.index(virtual_services, "host", host):
            continue
        winners = {virtual_service(q, scope, host, layer) for layer in LAYERS if getattr(route, layer)}
        for other in sorted(winner for winner in winners if winner not in (None, key)):
            yield Finding(
                f"spec.hosts[{index}]",
                f"VirtualService {other.namespace}/{other.name} speaks for {host}; "
                f"in namespace {key.namespace} this one is not used",
                "merge the two",
            )


def _claims(route: VirtualService) -> Iterator[Finding]:
    """Claims are known where tokens are checked before routes are chosen: on gateways."""
    if route.gateways and MESH not in route.gateways:
        return
    for n, rule in enumerate(route.http):
        for m, match in enumerate(rule.match):
            if match.gateways and MESH not in match.gateways:
                continue
            for field, tests in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                outcome = "this match never holds" if field == "headers" else "this always holds"
                yield from (
                    Finding(
                        f"spec.http[{n}].match[{m}].{field}[{name}]",
                        f"sidecars know no claims, so that there {outcome}",
                        "bind the VirtualService, or this match, to gateways alone",
                    )
                    for name, _ in tests
                    if is_claim(name)
                )


def _delegates(q: Q, route: VirtualService) -> Iterator[Finding]:
    for index, rule in enumerate(route.http):
        if rule.delegate is None:
            continue
        key = Key(rule.delegate.namespace or route.meta.namespace, rule.delegate.name)
        found: VirtualService | None = q.get(virtual_services, key)
        why, remedy = "delegates are not followed yet", "write the delegate's rules here"
        if found is None:
            why = f"there is no VirtualService {key.namespace}/{key.name}"
        elif found.hosts:
            why = f"hosts are named by VirtualService {key.namespace}/{key.name}"
        yield Finding(f"spec.http[{index}].delegate", f"{why}; this rule is left out", remedy)
