"""EndpointSlice and Endpoints: the addresses behind a Kubernetes Service."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object behind an address, most often a Pod."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class EndpointPort:
    """A port of all endpoints of a slice or subset; `name` joins it with the Service's port, `port` None = all."""

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
