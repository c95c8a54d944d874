"""The VirtualService: who answers for a host, by HTTP, TLS and TCP rules."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import (
    check_export_to,
    check_gateways,
    check_host,
    check_namespace,
    check_selector,
    check_subnets,
    check_weights,
)
from controlplane.model.claims import is_claim
from controlplane.model.describe import shorten
from controlplane.model.hosts import canonical, covering, fqdn, is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.gateway import MESH, gateway_key
from controlplane.model.kinds.http_route import Destination, HTTPRoute, read_http_route, read_weighted
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


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
    """Routing rules.  No `hosts`: a delegate; no `gateways`: the mesh; no `export_to`: its default."""

    meta: Meta
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


def _hosts(key: Key, value: VirtualService) -> set[str]:
    return {fqdn(host, key.namespace) for host in value.hosts}


def _gateways(key: Key, value: VirtualService) -> set[Key]:
    bound = (gateway_key(text, key.namespace) for text in value.gateways)
    return {gateway for gateway in bound if gateway is not None}


virtual_services = Table(
    "virtual_services",
    indexes={"namespace": by_namespace, "host": _hosts, "gateway": _gateways},
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> VirtualService:
    value = VirtualService(
        meta=meta,
        hosts=r.strings("hosts"),
        gateways=r.strings("gateways"),
        http=r.messages("http", read_http_route),
        tls=r.messages("tls", _read_tls_route),
        tcp=r.messages("tcp", _read_tcp_route),
        export_to=r.strings("exportTo"),
    )
    check_gateways(r, value.gateways)
    check_export_to(r, "exportTo", value.export_to)
    if not (r.has("http") or r.has("tls") or r.has("tcp")):
        r.error("http", "is missing", "write at least one rule in http, tls or tcp")
    if value.hosts:
        _check_hosts(r, value)
    elif not r.has("hosts"):
        _check_delegate(r, value)
    return value


def _check_hosts(r: Reader, value: VirtualService) -> None:
    for index, host in enumerate(value.hosts):
        if not is_address(host):
            check_host(r, f"hosts[{index}]", host)
        if host == "*" and (not value.gateways or "mesh" in value.gateways):
            r.error(
                f"hosts[{index}]",
                "'*' cannot be bound to the mesh",
                "name hosts, or bind it to gateways only",
            )
    _check_overlaps(r, value.hosts)
    if not value.gateways or MESH in value.gateways:
        _check_no_claims(r, value)
    named = frozenset(map(canonical, value.hosts))
    for rule, tls in enumerate(value.tls):
        for index, match in enumerate(tls.match):
            for sni in match.sni_hosts:
                if not is_address(sni) and covering(named, canonical(sni)) is None:
                    r.error(
                        f"tls[{rule}].match[{index}].sniHosts",
                        f"{shorten(sni)} is none of hosts",
                        "add it to hosts",
                    )


def _check_no_claims(r: Reader, value: VirtualService) -> None:
    """Only gateways route by what tokens say: a sidecar's client side has seen no token."""
    for rule, http in enumerate(value.http):
        for index, match in enumerate(http.match):
            for field, tests in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
                for header, _ in tests:
                    if is_claim(header):
                        at = f"http[{rule}].match[{index}].{field}"
                        r.error(at, f"{shorten(header)} is a claim, which only gateways see", "name gateways")


def _check_overlaps(r: Reader, hosts: tuple[str, ...]) -> None:
    """No host is meant twice; there may be thousands."""
    seen: set[str] = set()
    # Wildcard -> the first host that it covers.
    below: dict[str, str] = {}
    wildcards = {host for host in hosts if host.startswith("*")}
    for index, host in enumerate(hosts):
        other = covering(seen, host) or below.get(host)
        if other is not None:
            what = "is given twice" if other == host else f"and {shorten(other)} cover each other"
            r.error(f"hosts[{index}]", f"{shorten(host)} {what}", "remove one")
        seen.add(host)
        for at in range(1, len(host) + 1) if wildcards else ():
            wildcard = f"*{host[at:]}"
            if wildcard in wildcards:
                below.setdefault(wildcard, host)


def _check_delegate(r: Reader, value: VirtualService) -> None:
    """A VirtualService without hosts only lends its http rules to others."""
    for name in ("tls", "tcp", "gateways"):
        if r.has(name):
            r.error(name, "cannot be used without hosts", "name hosts, or leave it out of a delegate")
    for index, http in enumerate(value.http):
        if http.delegate is not None:
            r.error(f"http[{index}].delegate", "is in a delegate itself", "delegation goes one level deep")


def _read_route_destination(r: Reader) -> RouteDestination:
    return RouteDestination(*read_weighted(r))


def _read_routes(r: Reader) -> tuple[RouteDestination, ...]:
    routes = r.messages("route", _read_route_destination)
    r.demand("route", "name at least one destination")
    check_weights(r, "route", [destination.weight for destination in routes])
    return routes


def _read_tls_route(r: Reader) -> TLSRoute:
    route = TLSRoute(match=r.messages("match", _read_tls_match), route=_read_routes(r))
    r.demand("match", "say which sniHosts are meant")
    return route


def _read_tcp_route(r: Reader) -> TCPRoute:
    return TCPRoute(match=r.messages("match", _read_l4_match), route=_read_routes(r))


def _read_tls_match(r: Reader) -> TLSMatchAttributes:
    match = TLSMatchAttributes(
        sni_hosts=r.strings("sniHosts"),
        destination_subnets=r.strings("destinationSubnets"),
        port=r.port("port"),
        source_labels=r.labels("sourceLabels"),
        gateways=r.strings("gateways"),
        source_namespace=r.string("sourceNamespace"),
    )
    r.demand("sniHosts", "name at least one host")
    for index, host in enumerate(match.sni_hosts):
        if is_address(host):
            r.warn(f"sniHosts[{index}]", "is an address, which clients do not ask for", "name a host")
        else:
            check_host(r, f"sniHosts[{index}]", host)
    _check_match(r, match)
    return match


def _read_l4_match(r: Reader) -> L4MatchAttributes:
    match = L4MatchAttributes(
        destination_subnets=r.strings("destinationSubnets"),
        port=r.port("port"),
        source_subnet=r.string("sourceSubnet"),
        source_labels=r.labels("sourceLabels"),
        gateways=r.strings("gateways"),
        source_namespace=r.string("sourceNamespace"),
    )
    if match.source_subnet is not None:
        r.warn("sourceSubnet", "has no effect, in Istio neither", "use sourceLabels or sourceNamespace")
    _check_match(r, match)
    return match


def _check_match(r: Reader, match: TLSMatchAttributes | L4MatchAttributes) -> None:
    check_subnets(r, "destinationSubnets", match.destination_subnets)
    check_selector(r, "sourceLabels", match.source_labels)
    check_namespace(r, "sourceNamespace", match.source_namespace)
    check_gateways(r, match.gateways)


VIRTUAL_SERVICE = Kind(
    name="VirtualService",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="virtualservices",
    namespaced=True,
    table=virtual_services,
    read=_read,
)
