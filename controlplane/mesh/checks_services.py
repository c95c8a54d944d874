"""Checks of Services, and of what they and ServiceEntries may both claim: listeners, ports of workloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_names import left_out
from controlplane.mesh.checks_networks import door_findings, left_behind
from controlplane.mesh.checks_service_ports import port_findings
from controlplane.mesh.hosts import kubernetes_host
from controlplane.mesh.imports import visible_to
from controlplane.mesh.service import Port, Service, ServiceId, service
from controlplane.mesh.settings import answers_names
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import service_entries, services
from controlplane.model.kinds.service import Service as KubernetesService
from controlplane.model.kinds.service_entry import ServiceEntry
from controlplane.model.problem import Problem

_OPAQUE = frozenset({"TCP", "MONGO", "REDIS", "MYSQL"})
_ANYWHERE = "0.0.0.0"


class Claim(NamedTuple):
    """A place that only one service can have: a listener's address and port, or a workload's port.

    Of the latter `address` is "" and `namespace` and `selector` name the workloads.
    """

    address: str
    port: int | str
    namespace: str = ""
    selector: Labels = ()


@keyed
def service_claims(q: Q) -> Plan:
    """Claim -> ServiceIds of Kubernetes Services."""
    return group(q.members(services), _service_claims)


@keyed
def entry_claims(q: Q) -> Plan:
    """Claim -> ServiceIds of ServiceEntries."""
    return group(q.members(service_entries), _entry_claims)


@query
def _service_claims(q: Q, key: Key) -> tuple[tuple[Claim, ServiceId], ...]:
    found = q(service, ServiceId(kubernetes_host(key), key.namespace))
    return () if found is None else tuple((claim, found.id) for _, claim in _claims(q, found))


@query
def _entry_claims(q: Q, key: Key) -> tuple[tuple[Claim, ServiceId], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    defined = (q(service, ServiceId(host, key.namespace)) for host in sorted(set(entry.hosts)))
    known = (found for found in defined if found is not None)
    return tuple((claim, found.id) for found in known for _, claim in _claims(q, found))


def _claims(q: Q, found: Service) -> Iterator[tuple[Port, Claim]]:
    # An address that was given is one only for clients whose proxies answer names.
    own = found.addresses or (found.allocated if q(answers_names) else ())
    for port in found.ports:
        if port.protocol in _OPAQUE and not found.headless:
            # HTTP ports share a listener and are told apart by host; of opaque ones only one can have it.
            for address in own or (_ANYWHERE,):
                yield port, Claim(address, port.number)
        if found.source.kind == "Service" and found.selector:
            yield port, Claim("", port.target or port.number, found.id.namespace, found.selector)


@query
def service_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one Kubernetes Service."""
    found = q(service, ServiceId(kubernetes_host(key), key.namespace))
    if found is None:
        return ()
    declared: KubernetesService = q.get(services, key)
    findings = [*clashes(q, found, [port.port for port in declared.ports]), *door_findings(declared)]
    findings += port_findings(q, declared, found)
    findings += left_behind(q, "spec.selector", found.id)
    if declared.selector:
        remedy = "give it an IP address, or select it by a ServiceEntry with resolution DNS"
        findings += left_out(q, "spec.selector", key.namespace, declared.selector, remedy)
    return tuple(as_problem("Service", key, finding) for finding in findings)


def clashes(q: Q, found: Service, declared: list[int]) -> Iterator[Finding]:
    """The places that a service cannot have, because an older one has them, or that it has instead of others.

    `declared` are the port numbers as the object lists them, for the paths of its fields.
    """
    for port, claim in _claims(q, found):
        field = f"spec.ports[{declared.index(port.number)}]"
        owner = _owner(q, found, claim)
        if owner.source != found.source and (claim.address or _differs(port, owner, claim)):
            yield _clash(field, port, claim, owner)
        if owner.source == found.source:
            yield from _kept_out(q, found, field, port, claim)


def _kept_out(q: Q, found: Service, field: str, port: Port, claim: Claim) -> Iterator[Finding]:
    """The first younger service that loses the place to `found`, and how many more do."""
    ids = (id for id in _claimants(q, claim) if visible_to(q, id.namespace, found.id))
    younger = [
        other
        for id in ids
        if (other := q(service, id)) is not None
        and (found.created, found.id) < (other.created, other.id)
        and other.source != found.source
        and (claim.address or _differs(port, other, claim))
    ]
    if not younger:
        return
    first = younger[0].source
    names = f"{first.kind} {first.namespace}/{first.name}"
    names += f" and {len(younger) - 1} more" if len(younger) > 1 else ""
    if claim.address:
        opaque = f"opaque port {port.number}, which has no address of its own,"
        where = opaque if claim.address == _ANYWHERE else f"{claim.address}:{port.number}"
        message = f"{where} keeps out {names}: this one is older"
        yield Finding(field, message, "give one of them another address or port")
        return
    message = (
        f"{port.protocol} counts inbound for port {claim.port}, not what {names} says: this one is older"
    )
    yield Finding(field, message, "say the same protocol in all")


def _claimants(q: Q, claim: Claim) -> list[ServiceId]:
    return sorted({id for map in (service_claims, entry_claims) for id in q.keys(q.part(map, (), claim))})


def _owner(q: Q, found: Service, claim: Claim) -> Service:
    """Of the services that `found` can see and that claim the same, the oldest: it gets the place."""
    visible = (q(service, id) for id in _claimants(q, claim) if visible_to(q, found.id.namespace, id))
    return min(
        (other for other in visible if other is not None), key=lambda s: (s.created, s.id), default=found
    )


def _differs(port: Port, other: Service, claim: Claim) -> bool:
    """Whether the other service says something else of the workload's port."""
    return any(
        candidate.protocol != port.protocol
        for candidate in other.ports
        if (candidate.target or candidate.number) == claim.port
    )


def _clash(field: str, port: Port, claim: Claim, other: Service) -> Finding:
    owner = f"{other.source.kind} {other.source.namespace}/{other.source.name}"
    if claim.address == _ANYWHERE:
        message = (
            f"opaque port {port.number} has no address of its own and is taken by {owner}, which is older"
        )
        remedy = (
            "give the ServiceEntry addresses, let proxies answer names (DNS capture), or use another port"
        )
        return Finding(field, message, remedy)
    if claim.address:
        message = f"{claim.address}:{port.number} is taken by {owner}, which is older"
        return Finding(field, message, "use another address or port")
    return Finding(
        field,
        f"{owner}, which is older, calls port {claim.port} of the same workloads by another protocol "
        f"than {port.protocol}; inbound its word counts",
        "say the same protocol in both",
    )
