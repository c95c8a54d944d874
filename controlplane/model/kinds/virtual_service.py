"""The VirtualService: who answers for a host, by HTTP, TLS and TCP rules."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.http_route import Destination, HTTPRoute
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class RouteDestination:
    """A destination of a TLS or TCP rule and its share."""

    destination: Destination
    weight: int = 0


@dataclass(frozen=True, slots=True)
class TLSMatchAttributes:
    """All conditions must hold; `sni_hosts` any of them."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: int | None = None
    source_labels: Labels = ()
    gateways: tuple[str, ...] = ()
    source_namespace: str | None = None


@dataclass(frozen=True, slots=True)
class TLSRoute:
    """A rule for TLS that is passed through."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


@dataclass(frozen=True, slots=True)
class L4MatchAttributes:
    """All conditions must hold; `source_subnet` is read and has no effect, as in Istio."""

    destination_subnets: tuple[str, ...] = ()
    port: int | None = None
    source_subnet: str | None = None
    source_labels: Labels = ()
    gateways: tuple[str, ...] = ()
    source_namespace: str | None = None


@dataclass(frozen=True, slots=True)
class TCPRoute:
    """A rule for opaque connections."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualService:
    """Routing rules.  No `hosts` = a delegate; no `gateways` = the mesh; no `export_to` = the mesh's default."""

    meta: Meta
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


def _hosts(key: Key, value: VirtualService) -> set[str]:
    return {fqdn(host, key.namespace) for host in value.hosts}


virtual_services = Table(
    "virtual_services", indexes={"namespace": by_namespace, "host": _hosts}, namespace=namespace_of
)
