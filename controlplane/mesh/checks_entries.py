"""Checks of ServiceEntries: hosts claimed twice, ports that clash, and hosts that nobody could reach."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_names import left_out
from controlplane.mesh.checks_networks import left_behind
from controlplane.mesh.checks_services import clashes
from controlplane.mesh.protocols import HTTP_LIKE, declared_protocol
from controlplane.mesh.service import ServiceId, service
from controlplane.mesh.settings import answers_names
from controlplane.model.describe import shorten
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds import service_entries
from controlplane.model.kinds.service import DISTRIBUTION, distribution_of
from controlplane.model.kinds.service_entry import ServiceEntry
from controlplane.model.problem import Problem


@query
def service_entry_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one ServiceEntry."""
    entry: ServiceEntry | None = q.get(service_entries, key)
    if entry is None:
        return ()
    findings = [*_hosts(q, entry), *_nameless(entry), *_silent(entry), *_unreachable(q, entry), *_near(entry)]
    if entry.workload_selector is not None and entry.resolution not in ("DNS", "DNS_ROUND_ROBIN"):
        remedy = "give it an IP address, or use resolution DNS"
        at = "spec.workloadSelector.labels"
        findings += left_out(q, at, key.namespace, entry.workload_selector, remedy)
    if entry.hosts:
        found = q(service, ServiceId(entry.hosts[0], key.namespace))
        # A Service may have the same name, and the host.
        if found is not None and found.source == Ref("ServiceEntry", *key):
            findings += clashes(q, found, [port.number for port in entry.ports])
            chosen = "spec.endpoints" if entry.workload_selector is None else "spec.workloadSelector.labels"
            findings += left_behind(q, chosen, found.id)
    return tuple(as_problem("ServiceEntry", key, finding) for finding in findings)


def _near(entry: ServiceEntry) -> Iterator[Finding]:
    said = dict(entry.meta.annotations).get(DISTRIBUTION, "")
    if said and not distribution_of(None, entry.meta.annotations):
        path = f"metadata.annotations[{DISTRIBUTION}]"
        yield Finding(path, f"{shorten(said)} means nothing here", "say PreferSameZone or PreferSameNode")


def _silent(entry: ServiceEntry) -> Iterator[Finding]:
    if entry.resolution == "STATIC" and not entry.endpoints and entry.workload_selector is None:
        yield Finding(
            "spec.endpoints",
            "are missing, and with resolution STATIC nobody else says where the hosts are: calls get 503",
            "list endpoints, select workloads with workloadSelector, or use resolution DNS",
        )


def _unreachable(q: Q, entry: ServiceEntry) -> Iterator[Finding]:
    """Hosts of which clients learn no address: those by DNS have one that resolvers know."""
    if entry.resolution != "STATIC" or q(answers_names):
        return
    for index, host in enumerate(entry.hosts):
        found = q(service, ServiceId(host, entry.meta.namespace))
        if found is not None and found.allocated and found.source.name == entry.meta.name:
            yield Finding(
                f"spec.hosts[{index}]",
                f"{host} was given the address {found.allocated[0]}, and is unreachable by name where "
                "proxies do not answer names and no resolver knows it",
                "give the entry addresses and tell your resolver, or let proxies capture DNS: "
                "ISTIO_META_DNS_CAPTURE in defaultConfig.proxyMetadata, and its redirection",
                "info",
            )


def _nameless(entry: ServiceEntry) -> Iterator[Finding]:
    """Ports whose connections name no host, where that alone says where they go."""
    for index, port in enumerate(entry.ports):
        protocol = declared_protocol(port.protocol)
        if entry.resolution == "DYNAMIC_DNS" and protocol not in (*HTTP_LIKE, "TLS", "HTTPS", None):
            yield Finding(
                f"spec.ports[{index}].protocol",
                f"{port.protocol or 'a protocol that is not given'} says no host, so that with resolution "
                "DYNAMIC_DNS its connections lead nowhere",
                "say HTTP, HTTP2, GRPC or TLS",
            )


def _hosts(q: Q, entry: ServiceEntry) -> Iterator[Finding]:
    for index, host in enumerate(entry.hosts):
        found = q(service, ServiceId(host, entry.meta.namespace))
        if found is not None and (found.source.kind, found.source.name) != ("ServiceEntry", entry.meta.name):
            owner = f"{found.source.kind} {found.source.namespace}/{found.source.name}"
            yield Finding(
                f"spec.hosts[{index}]",
                f"{host} is defined by {owner}; this entry is not used for it",
                "remove one of them, or use another host",
            )
