"""ServiceEntry and WorkloadEntry: services and workloads that Kubernetes does not know."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class WorkloadEntrySpec:
    """One workload: `address` is an IP, a DNS name or unix://path; `ports` are (port name, number) pairs.

    `locality` is region/zone/subzone; `weight` None = 1; `network` None = the default network.
    """

    address: str
    ports: tuple[tuple[str, int], ...] = ()
    labels: Labels = ()
    network: str | None = None
    locality: str | None = None
    weight: int | None = None
    service_account: str | None = None


@dataclass(frozen=True, slots=True)
class WorkloadEntry:
    """A workload as an object of its own; `labels` are spec.labels overridden by metadata.labels."""

    meta: Meta
    spec: WorkloadEntrySpec
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class ServiceEntryPort:
    """A port; `protocol` as written, "" = detect; `target_port` None = `number`."""

    number: int
    name: str
    protocol: str = ""
    target_port: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """A service: `location` MESH_EXTERNAL or MESH_INTERNAL.

    `resolution` NONE, STATIC, DNS, DNS_ROUND_ROBIN or DYNAMIC_DNS; `addresses` are IPs or CIDRs;
    `workload_selector` excludes `endpoints`.
    """

    meta: Meta
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[ServiceEntryPort, ...] = ()
    location: str = "MESH_EXTERNAL"
    resolution: str = "NONE"
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    workload_selector: Labels | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


def _address(_key: Key, value: WorkloadEntry) -> tuple[str, ...]:
    return (value.spec.address,)


def _hosts(_key: Key, value: ServiceEntry) -> set[str]:
    return set(value.hosts)


def _endpoint_addresses(_key: Key, value: ServiceEntry) -> set[str]:
    return {endpoint.address for endpoint in value.endpoints}


workload_entries = Table(
    "workload_entries",
    indexes={"namespace": by_namespace, "address": _address},
    labels=lambda value: value.labels,
    namespace=namespace_of,
)
service_entries = Table(
    "service_entries",
    indexes={"namespace": by_namespace, "host": _hosts, "address": _endpoint_addresses},
    selector=lambda value: value.workload_selector,
    namespace=namespace_of,
)
