"""ServiceEntry: services that Kubernetes does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controlplane.graph import Table
from controlplane.model.checks import (
    UNIX,
    check_export_to,
    check_host,
    check_most,
    check_protocol,
    check_selector,
    check_short_name,
    check_subnets,
)
from controlplane.model.describe import printable, shorten
from controlplane.model.hosts import canonical, canonical_range, is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.service import noted_on_node
from controlplane.model.kinds.workload_entry import WorkloadEntrySpec, read_workload
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


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


def _hosts(_key: Key, value: ServiceEntry) -> set[str]:
    return set(value.hosts)


def _endpoint_addresses(_key: Key, value: ServiceEntry) -> set[str]:
    return {endpoint.address for endpoint in value.endpoints if endpoint.address}


service_entries = Table(
    "service_entries",
    indexes={
        "namespace": by_namespace,
        "host": _hosts,
        "address": _endpoint_addresses,
        "on_node": lambda key, value: noted_on_node(value.meta.annotations),
        "dynamic": lambda key, value: (True,) if value.resolution == "DYNAMIC_DNS" else (),
    },
    selector=lambda value: value.workload_selector,
    namespace=namespace_of,
)


_MOST, _MOST_ENDPOINTS = 256, 4096
_BY_NAME = ("DNS", "DNS_ROUND_ROBIN")
_TOLD_APART = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTP_PROXY", "HTTPS", "TLS")
"""Protocols whose calls say which host they mean."""
RESOLUTIONS = ("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")


def _read_service_entry(r: Reader, meta: Meta) -> ServiceEntry:
    value = ServiceEntry(
        meta=meta,
        hosts=tuple(canonical(host) for host in r.strings("hosts")),
        addresses=_read_addresses(r),
        ports=_read_ports(r),
        location=r.enum("location", ("MESH_EXTERNAL", "MESH_INTERNAL"), "MESH_EXTERNAL"),
        resolution=r.enum("resolution", RESOLUTIONS, "NONE"),
        endpoints=r.messages("endpoints", read_workload),
        workload_selector=r.message("workloadSelector", read_workload_selector) or None,
        export_to=r.strings("exportTo"),
        subject_alt_names=r.strings("subjectAltNames"),
    )
    r.demand("hosts", "name at least one host")
    for name, count, most in (
        ("hosts", len(value.hosts), _MOST),
        ("addresses", len(value.addresses), _MOST),
        ("ports", len(value.ports), _MOST),
        ("endpoints", len(value.endpoints), _MOST_ENDPOINTS),
    ):
        check_most(r, name, count, most)
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


def _read_addresses(r: Reader) -> tuple[str, ...]:
    """Each address once, in one spelling."""
    addresses = r.strings("addresses")
    check_subnets(r, "addresses", addresses)
    return tuple(dict.fromkeys(map(canonical_range, addresses)))


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
    check_short_name(r, "name", port.name, "port")
    check_protocol(r, "protocol", port.protocol)
    return port


def _check_addresses(r: Reader, value: ServiceEntry) -> None:
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
    if value.resolution in _BY_NAME and not value.endpoints:
        for index, host in enumerate(value.hosts):
            if host.startswith("*"):
                r.error(
                    f"hosts[{index}]",
                    f"the wildcard {shorten(host)} cannot be resolved",
                    "name the hosts, give endpoints, or use resolution DYNAMIC_DNS or NONE",
                )
    for index, endpoint in enumerate(value.endpoints):
        _check_endpoint(r, index, endpoint, value)
    if len(value.hosts) > 1 and value.resolution != "NONE":
        for index, port in enumerate(value.ports):
            if port.protocol.upper() not in _TOLD_APART:
                why = "does not say which of several hosts is called"
                remedy = "use HTTP or TLS, make an entry for each host, or use resolution NONE"
                r.error(
                    f"ports[{index}].protocol", f"{port.protocol or 'what is to be detected'} {why}", remedy
                )


def _check_endpoint(r: Reader, index: int, endpoint: WorkloadEntrySpec, value: ServiceEntry) -> None:
    """What the resolution and the ports of the entry allow an endpoint to be."""
    at, address = f"endpoints[{index}]", endpoint.address
    if value.resolution == "STATIC" and address and not is_address(address) and not address.startswith(UNIX):
        remedy = "write an IP address, or use resolution DNS"
        r.error(f"{at}.address", f"{shorten(address)} is no IP address", remedy)
    if value.resolution in _BY_NAME and (not address or address.startswith(UNIX)):
        why = "is missing" if not address else f"{shorten(address)} cannot be resolved"
        r.error(f"{at}.address", why, "write a DNS name or an IP address, or use resolution STATIC")
    if address.startswith(UNIX) and len(value.ports) > 1:
        r.error(f"{at}.address", "is one socket for several ports", "leave one of the entry's ports")
    names = {port.name for port in value.ports}
    for name, _ in endpoint.ports:
        if name not in names:
            where = f"{at}.ports[{printable(name)}]"
            r.error(where, "is not one of the service's ports", "use the name of one of ports")


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
