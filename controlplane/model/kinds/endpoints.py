"""EndpointSlice and Endpoints: the addresses behind a Kubernetes Service."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.describe import shorten
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object behind an address, most often a Pod."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """A port of all endpoints of a slice or subset; `name` joins it with the Service's."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint of a slice.

    `ready`, `serving` and `terminating` are the conditions with Kubernetes' defaults filled in
    (an unknown `ready` counts as ready, `serving` then follows `ready`).
    """

    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    target_ref: ObjectReference | None = None


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """A part of a service's endpoints; `address_type` is IPv4, IPv6 or FQDN."""

    meta: Meta
    address_type: str
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    service: Key | None = None


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """One address of a subset."""

    ip: str
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


@dataclass(frozen=True, slots=True)
class EndpointSubset:
    """Addresses that share their ports."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All endpoints of the Service of the same name, in the older API."""

    meta: Meta
    subsets: tuple[EndpointSubset, ...] = ()


def _slice_service(_key: Key, value: EndpointSlice) -> tuple[Key, ...]:
    return () if value.service is None else (value.service,)


def _slice_addresses(_key: Key, value: EndpointSlice) -> set[str]:
    return {address for endpoint in value.endpoints for address in endpoint.addresses}


def _endpoints_service(key: Key, _value: Endpoints) -> tuple[Key, ...]:
    return (key,)


def _endpoints_addresses(_key: Key, value: Endpoints) -> set[str]:
    return {
        address.ip for subset in value.subsets for address in (*subset.addresses, *subset.not_ready_addresses)
    }


endpoint_slices = Table(
    "endpoint_slices",
    indexes={"namespace": by_namespace, "service": _slice_service, "address": _slice_addresses},
    namespace=namespace_of,
)
endpoints = Table(
    "endpoints",
    indexes={"namespace": by_namespace, "service": _endpoints_service, "address": _endpoints_addresses},
    namespace=namespace_of,
)


ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")
PROTOCOLS = ("TCP", "UDP", "SCTP")


def _read_slice(r: Reader, meta: Meta) -> EndpointSlice:
    service = next((value for key, value in meta.labels if key == SERVICE_NAME_LABEL), "")
    if not service:
        r.warn(
            "metadata.labels",
            "name no service, so that nobody uses these endpoints",
            f"add the label {SERVICE_NAME_LABEL}",
        )
    address_type = r.enum("addressType", ADDRESS_TYPES, "IPv4")
    read = _read_name_endpoint if address_type == "FQDN" else _read_ip_endpoint
    return EndpointSlice(
        meta=meta,
        address_type=address_type,
        endpoints=r.messages("endpoints", read),
        ports=r.messages("ports", _read_port),
        service=Key(meta.namespace, service) if service else None,
    )


def _read_ip_endpoint(r: Reader) -> SliceEndpoint:
    endpoint = _read_name_endpoint(r)
    for index, address in enumerate(endpoint.addresses):
        if not is_address(address):
            r.error(f"addresses[{index}]", f"{shorten(address)} is no IP address", "write an IP address")
    return endpoint


def _read_name_endpoint(r: Reader) -> SliceEndpoint:
    conditions = r.inner("conditions")
    ready = conditions.optional_boolean("ready")
    serving = conditions.optional_boolean("serving")
    # https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
    ready = True if ready is None else ready
    return SliceEndpoint(
        addresses=r.strings("addresses"),
        ready=ready,
        serving=ready if serving is None else serving,
        terminating=conditions.boolean("terminating"),
        hostname=r.string("hostname"),
        node_name=r.string("nodeName"),
        zone=r.string("zone"),
        target_ref=r.message("targetRef", _read_reference),
    )


def _read_reference(r: Reader) -> ObjectReference:
    return ObjectReference(kind=r.text("kind"), namespace=r.text("namespace"), name=r.text("name"))


def _read_port(r: Reader) -> EndpointPort:
    return EndpointPort(
        name=r.text("name"),
        port=r.port("port"),
        protocol=r.enum("protocol", PROTOCOLS, "TCP"),
        app_protocol=r.string("appProtocol"),
    )


def _read_endpoints(r: Reader, meta: Meta) -> Endpoints:
    return Endpoints(meta=meta, subsets=r.messages("subsets", _read_subset))


def _read_subset(r: Reader) -> EndpointSubset:
    return EndpointSubset(
        addresses=r.messages("addresses", _read_subset_address),
        not_ready_addresses=r.messages("notReadyAddresses", _read_subset_address),
        ports=r.messages("ports", _read_port),
    )


def _read_subset_address(r: Reader) -> EndpointAddress:
    ip = r.required("ip")
    if ip and not is_address(ip):
        r.error("ip", f"{shorten(ip)} is no IP address", "write an IP address")
    return EndpointAddress(
        ip=ip,
        hostname=r.string("hostname"),
        node_name=r.string("nodeName"),
        target_ref=r.message("targetRef", _read_reference),
    )


ENDPOINT_SLICE = Kind(
    name="EndpointSlice",
    group="discovery.k8s.io",
    versions=("v1",),
    plural="endpointslices",
    namespaced=True,
    table=endpoint_slices,
    read=_read_slice,
    shape="core",
)
ENDPOINTS = Kind(
    name="Endpoints",
    group="",
    versions=("v1",),
    plural="endpoints",
    namespaced=True,
    table=endpoints,
    read=_read_endpoints,
    shape="core",
)
