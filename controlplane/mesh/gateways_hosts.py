"""Virtual hosts of gateways: which VirtualServices answer for which names, on which servers.

A VirtualService speaks through the Gateways that it is bound to, for the names that its hosts and those of
a server have in common.  Unlike for sidecars, several VirtualServices may speak for one name: their routes
follow each other, and those that catch all come last.

Names that are answered for alike are one virtual host.  Its projection (`GatewayHost`) names rules and not
what they say, so an edit of a VirtualService makes one virtual host anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.gateways import ServerId, Socket, served, server_of
from controlplane.mesh.hosts import covers
from controlplane.mesh.projections import Edge, RouteScope
from controlplane.mesh.routing import Layer, closeness
from controlplane.mesh.routing_delegates import http_rules
from controlplane.mesh.routing_hosts import client_of
from controlplane.mesh.routing_http import http_routes
from controlplane.mesh.routing_ir import (
    DirectResponse,
    HeaderMatch,
    Match,
    Redirect,
    Route,
    TextMatch,
    VirtualHost,
)
from controlplane.mesh.routing_match import Client
from controlplane.mesh.settings import exported, resolved_export_to, virtual_service_export_to
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.gateway import HTTP, Server, ServerHost, gateway_key
from controlplane.model.kinds.virtual_service import VirtualService

NOT_FOUND = Route("not-found", Match(), DirectResponse(404))
"""The end of every virtual host of a gateway.  A request without a route would meet no policy of its own."""


_MANY = 32
"""Gateways on one plaintext port, from which on it is cheaper to look at the VirtualServices of all others as
well: a map whose plan changes compares each of its members with each of its sources."""
_PLAINTEXT = HeaderMatch("x-forwarded-proto", TextMatch("exact", "https"), invert=True)
TO_HTTPS = Route("https-redirect", Match(headers=(_PLAINTEXT,)), Redirect(scheme="https"))
"""The beginning of a virtual host that sends everybody to HTTPS.

Envoy's own way of saying it (`require_tls`) takes a request off its route, and so away from its policies:
guarded, such a virtual host would refuse everybody.
"""


class Site(NamedTuple):
    """A route configuration: of the plaintext servers of a socket together, or of one encrypted `server`.

    `namespace` is the proxy's: what is exported to it counts.
    """

    edge: Edge
    namespace: str
    socket: Socket
    server: ServerId | None = None


class Bound(NamedTuple):
    """A VirtualService that answers for a name through a server; they sort in the order of their routes.

    `rules` None: none does, but the server sends everybody who asks for the name to HTTPS (`redirect`).
    """

    gateway: tuple[str, Key]
    rank: tuple[int, str, str, str] | tuple[()]
    rules: Key | None
    redirect: bool


class GatewayHost(NamedTuple):
    """The projection of a virtual host: the number of the port, rules in their order, and who asks."""

    port: int
    rules: tuple[tuple[Key, Client], ...]
    redirect: bool


class Attached(NamedTuple):
    """What a VirtualService is to gateways; `particular`: its HTTP rules tell them apart."""

    layers: tuple[Layer, ...]
    created: str
    hosts: tuple[str, ...]
    export_to: tuple[str, ...]
    gateways: tuple[Key, ...]
    particular: bool


@query
def attached(q: Q, key: Key) -> Attached | None:
    """The VirtualService as far as gateways select it; None for one that does not exist."""
    found: VirtualService | None = q.get(virtual_services, key)
    if found is None:
        return None
    layers: tuple[Layer, ...] = ("http", "tls", "tcp")
    bound = {gateway_key(text, key.namespace) for text in found.gateways} - {None}
    matches = [match for rule in http_rules(q, found) for match in rule.match]
    return Attached(
        layers=tuple(layer for layer in layers if getattr(found, layer)),
        created=found.meta.created,
        hosts=tuple(sorted({fqdn(host, key.namespace) for host in found.hosts})),
        export_to=resolved_export_to(found.export_to, q(virtual_service_export_to), key.namespace),
        gateways=tuple(sorted(gateway for gateway in bound if gateway is not None)),
        particular=any(match.gateways for match in matches),
    )


@query
def site_servers(q: Q, site: Site) -> tuple[ServerId, ...]:
    """The servers of a route configuration, the oldest first."""
    return q(served, site.edge, site.socket).servers if site.server is None else (site.server,)


@query
def site_port(q: Q, site: Site) -> int:
    """The number by which its Services know the port: that of the oldest server."""
    servers = (server_of(q, id) for id in q(site_servers, site)[:1])
    return next((server.port.number for server in servers if server is not None), site.socket.port)


@keyed
def _by_gateway(q: Q, site: Site) -> Plan:
    """Gateway -> its servers, so that the coming and going of others matters to nobody else."""
    return group(q.fixed(*q(site_servers, site)), _gateway_of)


@query
def _gateway_of(_q: Q, id: ServerId) -> tuple[tuple[Key, ServerId], ...]:
    return ((id.gateway, id),)


class _Hosts(NamedTuple):
    hosts: tuple[ServerHost, ...]
    redirect: bool


@query
def _hosts(q: Q, id: ServerId) -> _Hosts:
    server: Server | None = server_of(q, id)
    if server is None:
        return _Hosts((), False)
    redirect = server.tls is not None and server.tls.https_redirect and server.port.protocol in HTTP
    return _Hosts(server.hosts, redirect)


@keyed
def names(q: Q, site: Site) -> Plan:
    """Name -> Bound, for all names that are answered for."""
    servers = q(site_servers, site)
    speaking = dict.fromkeys(id.gateway for id in servers)
    if len(speaking) > _MANY:
        return group((q.part(bound_anywhere, (), True), q.fixed(*servers)), _names, site)
    bound = (q.bucket(virtual_services, "gateway", key) for key in speaking)
    return group((*bound, q.fixed(*servers)), _names, site)


@keyed
def bound_anywhere(q: Q) -> Plan:
    """True -> the VirtualServices that are bound to any gateway."""
    return group(q.members(virtual_services), _bound_to_any)


@query
def _bound_to_any(q: Q, key: Key) -> tuple[tuple[bool, Key], ...]:
    found = q(attached, key)
    return ((True, key),) if found is not None and found.gateways else ()


@query
def _names(q: Q, site: Site, member: Key | ServerId) -> tuple[tuple[str, Bound], ...]:
    if isinstance(member, ServerId):
        hosts, redirect = q(_hosts, member)
        mark = Bound((member.created, member.gateway), (), None, redirect)
        return tuple((host.host, mark) for host in hosts) if redirect else ()
    return tuple(dict.fromkeys(_names_of(q, site, member)))


def _names_of(q: Q, site: Site, key: Key) -> Iterator[tuple[str, Bound]]:
    found = q(attached, key)
    if found is None or "http" not in found.layers or not exported(found.export_to, site.namespace):
        return
    rank = rank_of(site.namespace, key, found)
    for gateway in found.gateways:
        for id in q.keys(q.part(_by_gateway, (site,), gateway)):
            hosts, redirect = q(_hosts, id)
            bound = Bound((id.created, gateway), rank, key, redirect)
            for name in common_names(hosts, found.hosts, key.namespace):
                yield name, bound


def rank_of(namespace: str, key: Key, one: Attached) -> tuple[int, str, str, str]:
    """What sorts the VirtualServices of a gateway in `namespace` into the order in which they count."""
    return (closeness(namespace, key, one.export_to), one.created, key.name, key.namespace)


def common_names(offered: tuple[ServerHost, ...], asked: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """What the hosts of a server and those of a VirtualService in `namespace` have in common, sorted."""
    own = [host.host for host in offered if host.namespace in ("*", namespace)]
    pairs = ((host, name) for host in own for name in asked)
    both = (name if covers(host, name) else host if covers(name, host) else None for host, name in pairs)
    return tuple(sorted({name for name in both if name is not None}))


@keyed
def alike(q: Q, site: Site, scope: RouteScope) -> Plan:
    """GatewayHost -> the names that it answers for."""
    return group(q.map(names, site), _alike, site, scope)


@query
def _alike(q: Q, site: Site, scope: RouteScope, name: str) -> tuple[tuple[GatewayHost, str], ...]:
    bound: tuple[Bound, ...] = q.keys(q.part(names, (site,), name))
    port = q(site_port, site)
    rules: dict[Key, list[tuple[Key, Client]]] = {}
    for one in bound:
        found = None if one.rules is None else q(attached, one.rules)
        if found is None or one.rules is None or (one.rules in rules and not found.particular):
            continue
        client = client_of(q, scope, one.rules)._replace(gateway=one.gateway[1])
        if q(http_routes, one.rules, port, client):
            rules.setdefault(one.rules, []).append((one.rules, client))
    redirect = any(one.redirect for one in bound)
    if not rules and not redirect:
        return ()
    ordered = tuple(pair for pairs in rules.values() for pair in pairs)
    return ((GatewayHost(port, ordered, redirect), name),)


def is_answered(q: Q, site: Site, scope: RouteScope, name: str) -> bool:
    """Whether there is a virtual host for this very name."""
    return bool(q(_alike, site, scope, name))


@query
def gateway_virtual_host(q: Q, spec: GatewayHost, domains: tuple[str, ...]) -> VirtualHost:
    """The virtual host of a projection for the names that it answers for (at least one)."""
    routes = [route for key, client in spec.rules for route in q(http_routes, key, spec.port, client)]
    # Envoy takes the first that fits, and one VirtualService must not hide the rules of another.
    routes.sort(key=lambda route: route.match.catches_all)
    last = next((index for index, route in enumerate(routes) if route.match.catches_all), None)
    kept = (*routes, NOT_FOUND) if last is None else tuple(routes[: last + 1])
    if spec.redirect:
        kept = (TO_HTTPS, *kept)
    # In a Host header an IPv6 address stands in brackets.
    written = tuple(f"[{name}]" if ":" in name else name for name in domains)
    return VirtualHost(f"{written[0]}:{spec.port}", written, kept)
