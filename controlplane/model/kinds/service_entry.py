"""ServiceEntry and WorkloadEntry: services and workloads that Kubernetes does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controlplane.graph import Table
from controlplane.model.checks import (
    check_export_to,
    check_host,
    check_port_name,
    check_protocol,
    check_selector,
    check_subnets,
)
from controlplane.model.describe import printable, shorten
from controlplane.model.hosts import canonical, host_fault, is_address
from controlplane.model.keys import Key, Labels, labels_of
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.service import noted_on_node
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
    status_addresses: tuple[tuple[str, str], ...] = ()
    """(host, address) pairs: what a controller says that hosts were given."""


def _address(_key: Key, value: WorkloadEntry) -> tuple[str, ...]:
    return (value.spec.address,) if value.spec.address else ()


def _hosts(_key: Key, value: ServiceEntry) -> set[str]:
    return set(value.hosts)


def _endpoint_addresses(_key: Key, value: ServiceEntry) -> set[str]:
    return {endpoint.address for endpoint in value.endpoints if endpoint.address}


workload_entries = Table(
    "workload_entries",
    indexes={"namespace": by_namespace, "address": _address},
    labels=lambda value: value.labels,
    namespace=namespace_of,
)
service_entries = Table(
    "service_entries",
    indexes={
        "namespace": by_namespace,
        "host": _hosts,
        "address": _endpoint_addresses,
        "on_node": lambda key, value: noted_on_node(value.meta.annotations),
    },
    selector=lambda value: value.workload_selector,
    namespace=namespace_of,
)


RESOLUTIONS = ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")


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
        check_port_name(r, "ports", name)
    return spec


def _check_address(r: Reader, spec: WorkloadEntrySpec) -> None:
    if not spec.address:
        if spec.network is None:
            r.error("address", "is missing", "write an IP address, a DNS name or unix:///path")
    elif spec.address.startswith("unix://"):
        path = spec.address.removeprefix("unix://")
        if not path.startswith(("/", "@")) or path.endswith("/"):
            r.error(
                "address", f"{shorten(spec.address)} names no socket", "write unix:///path or unix://@name"
            )
        if spec.ports:
            r.error("ports", "cannot be used with a socket", "remove them")
    elif not is_address(spec.address) and host_fault(spec.address, wildcard=False):
        r.error(
            "address",
            f"{shorten(spec.address)} is neither an IP address nor a DNS name",
            "write one of these",
        )


def _read_service_entry(r: Reader, meta: Meta) -> ServiceEntry:
    value = ServiceEntry(
        meta=meta,
        hosts=tuple(canonical(host) for host in r.strings("hosts")),
        addresses=r.strings("addresses"),
        ports=_read_ports(r),
        location=r.enum("location", ("MESH_EXTERNAL", "MESH_INTERNAL"), "MESH_EXTERNAL"),
        resolution=r.enum("resolution", RESOLUTIONS, "NONE"),
        endpoints=r.messages("endpoints", read_workload),
        workload_selector=r.message("workloadSelector", read_workload_selector) or None,
        export_to=r.strings("exportTo"),
        subject_alt_names=r.strings("subjectAltNames"),
    )
    r.demand("hosts", "name at least one host")
    for index, host in enumerate(value.hosts):
        if host == "*":
            r.error(
                f"hosts[{index}]", "'*' stands for every host", "name a host, or a wildcard of one domain"
            )
        check_host(r, f"hosts[{index}]", host)
    check_export_to(r, "exportTo", value.export_to, hideable=True)
    _check_addresses(r, value)
    _check_endpoints(r, value)
    return value


def _read_status(raw: object, value: ServiceEntry) -> ServiceEntry:
    """The addresses of `status`; what is no address of a host is passed over, nobody writes it by hand."""
    listed = raw.get("addresses") if isinstance(raw, Mapping) else None
    found: set[tuple[str, str]] = set()
    for one in listed if isinstance(listed, list) else ():
        host, address = (one.get("host"), one.get("value")) if isinstance(one, Mapping) else (None, None)
        if isinstance(host, str) and isinstance(address, str) and is_address(address):
            found.add((canonical(host), address))
    return replace(value, status_addresses=tuple(sorted(found))) if found else value


def read_workload_selector(r: Reader) -> Labels:
    """A WorkloadSelector; one without labels selects nothing."""
    labels = r.labels("labels")
    check_selector(r, "labels", labels)
    if not labels:
        r.warn("labels", "is empty, so that the selector is not used", "name labels")
    return labels


def _read_ports(r: Reader) -> tuple[ServiceEntryPort, ...]:
    ports = r.messages("ports", _read_port)
    r.demand("ports", "name at least one port")
    seen: set[str | int] = set()
    for index, port in enumerate(ports):
        if port.name in seen:
            r.error(f"ports[{index}].name", f"{shorten(port.name)} is given twice", "use another name")
        if port.number in seen:
            r.error(f"ports[{index}].number", f"{port.number} is given twice", "use another number")
        seen.update((port.name, port.number))
    return ports


def _read_port(r: Reader) -> ServiceEntryPort:
    port = ServiceEntryPort(
        number=r.required_port("number"),
        name=r.required("name", "name the port"),
        protocol=r.text("protocol"),
        target_port=r.port("targetPort"),
    )
    check_port_name(r, "name", port.name)
    check_protocol(r, "protocol", port.protocol)
    return port


def _check_addresses(r: Reader, value: ServiceEntry) -> None:
    check_subnets(r, "addresses", value.addresses)
    for index, address in enumerate(value.addresses):
        if "/" in address and value.resolution not in ("NONE", "STATIC"):
            r.error(
                f"addresses[{index}]",
                f"a CIDR cannot be used with resolution {value.resolution}",
                "write an IP address, or use resolution NONE or STATIC",
            )


def _check_endpoints(r: Reader, value: ServiceEntry) -> None:
    if value.endpoints and r.has("workloadSelector"):
        r.error("workloadSelector", "excludes endpoints", "keep one of them")
    if value.resolution == "NONE" and value.endpoints:
        r.error("endpoints", "cannot be used with resolution NONE", "use resolution STATIC or DNS")
    if value.resolution == "DYNAMIC_DNS" and value.endpoints:
        without = "each host is resolved when it is asked for"
        r.error("endpoints", f"cannot be used with resolution DYNAMIC_DNS: {without}", "use resolution DNS")
    if value.resolution == "DNS_ROUND_ROBIN" and len(value.endpoints) > 1:
        r.error("endpoints", "may be one at most with resolution DNS_ROUND_ROBIN", "use resolution DNS")
    if value.resolution in ("DNS", "DNS_ROUND_ROBIN") and not value.endpoints:
        for index, host in enumerate(value.hosts):
            if host.startswith("*"):
                r.error(
                    f"hosts[{index}]",
                    f"the wildcard {shorten(host)} cannot be resolved",
                    "name the hosts, give endpoints, or use resolution DYNAMIC_DNS or NONE",
                )
    names = {port.name for port in value.ports}
    for index, endpoint in enumerate(value.endpoints):
        address = endpoint.address
        if value.resolution == "STATIC" and address and not is_address(address) and "://" not in address:
            r.error(
                f"endpoints[{index}].address",
                f"{shorten(address)} is no IP address",
                "write an IP address, or use resolution DNS",
            )
        for name, _ in endpoint.ports:
            if name not in names:
                at = f"endpoints[{index}].ports[{printable(name)}]"
                r.error(at, "is not one of the service's ports", "use the name of one of ports")


WORKLOAD_ENTRY = Kind(
    name="WorkloadEntry",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="workloadentries",
    namespaced=True,
    table=workload_entries,
    read=_read_workload_entry,
)
SERVICE_ENTRY = Kind(
    name="ServiceEntry",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="serviceentries",
    namespaced=True,
    table=service_entries,
    read=_read_service_entry,
    status=_read_status,
)
