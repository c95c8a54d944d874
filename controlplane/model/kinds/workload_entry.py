"""WorkloadEntry: a workload that Kubernetes does not know, alone or within a ServiceEntry."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import UNIX, check_selector, check_short_name, check_socket
from controlplane.model.describe import shorten
from controlplane.model.hosts import host_fault, is_address
from controlplane.model.keys import Key, Labels, labels_of
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import UINT32, Reader


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


def _address(_key: Key, value: WorkloadEntry) -> tuple[str, ...]:
    return (value.spec.address,) if value.spec.address else ()


workload_entries = Table(
    "workload_entries",
    indexes={"namespace": by_namespace, "address": _address},
    labels=lambda value: value.labels,
    namespace=namespace_of,
)


def _read_workload_entry(r: Reader, meta: Meta) -> WorkloadEntry:
    spec = read_workload(r)
    return WorkloadEntry(meta=meta, spec=spec, labels=labels_of({**dict(spec.labels), **dict(meta.labels)}))


def read_workload(r: Reader) -> WorkloadEntrySpec:
    """The spec of a WorkloadEntry, alone or within a ServiceEntry."""
    spec = read_template(r)
    _check_address(r, spec)
    return spec


def read_template(r: Reader) -> WorkloadEntrySpec:
    """The same, whose address may be missing."""
    spec = WorkloadEntrySpec(
        address=r.text("address"),
        ports=r.integers_by_name("ports", 1, 65535),
        labels=r.labels("labels"),
        network=r.string("network"),
        locality=r.string("locality"),
        weight=r.count("weight", UINT32),
        service_account=r.string("serviceAccount"),
    )
    check_selector(r, "labels", spec.labels)
    for name, _ in spec.ports:
        check_short_name(r, "ports", name, "port")
    return spec


def _check_address(r: Reader, spec: WorkloadEntrySpec) -> None:
    if not spec.address:
        if spec.network is None:
            r.error("address", "is missing", "write an IP address, a DNS name or unix:///path")
    elif spec.address.startswith(UNIX):
        check_socket(r, "address", spec.address)
        if spec.ports:
            r.error("ports", "cannot be used with a socket", "remove them")
    elif not is_address(spec.address) and host_fault(spec.address, wildcard=False):
        r.error(
            "address",
            f"{shorten(spec.address)} is neither an IP address nor a DNS name",
            "write one of these",
        )


WORKLOAD_ENTRY = Kind(
    name="WorkloadEntry",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="workloadentries",
    namespaced=True,
    table=workload_entries,
    read=_read_workload_entry,
)
