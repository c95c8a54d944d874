"""LDS: the listeners of a sidecar.

Outbound listeners do not bind: `virtualOutbound` takes what was redirected and hands it to the listener
of the address that was dialled.  Listeners change rarely on purpose.  What a port's listener says depends
on which protocols its services speak and, for HTTP, not on which services those are; routes, endpoints
and policies live elsewhere.
"""

from __future__ import annotations

from typing import TypeAlias

from controlplane.envoy import names
from controlplane.envoy.dns import dns_listeners
from controlplane.envoy.http_proxy import http_proxies
from controlplane.envoy.listeners_binds import Bind, Claim, Style
from controlplane.envoy.listeners_bound import bound_listeners
from controlplane.envoy.listeners_claims import (
    common_own,
    l4_scope,
    own_claims,
    particular_own,
    shared_binds,
    shared_claims,
)
from controlplane.envoy.listeners_dialled import dialled_binds, dialled_claims
from controlplane.envoy.listeners_inbound import inbound_listeners
from controlplane.envoy.listeners_outbound import outbound_listener, virtual_outbound
from controlplane.envoy.maps import Maps
from controlplane.envoy.resource import Resource
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.listening import USUAL, WILDCARD, Stance
from controlplane.mesh.projections import ProxyView, RouteScope, Scope
from controlplane.mesh.routing_fallback import Fallback, fallback
from controlplane.mesh.settings import listener_ports

__all__ = [
    "common_listeners",
    "inbound_listeners",
    "listener_maps",
    "particular_listeners",
    "shared_listeners",
    "virtual_listeners",
]

Place: TypeAlias = tuple[str, int]
"""The address and port of a listener."""

# A listener of an address of its own knows where everything goes.
_NO_STRANGERS = Fallback()
_USUAL = Style()


def listener_maps(view: ProxyView, *, on_demand: bool = False) -> Maps:
    """The maps that hold a sidecar's listeners between them: no name is in two of them.

    `on_demand`: the virtual hosts of ports come when they are asked for.
    """
    stance = view.stance
    places, own = _places(view)
    if view.capture.mode == "NONE":
        return ((dialled_listeners, (view.listening, stance, places)), *own)
    if view.inbound is not None:
        own = (*own, (inbound_listeners, (view.inbound, stance)))
    common = ((common_listeners, (view.capture.dns, stance)),) if view.scope.sidecar is None else ()
    return (
        *common,
        (shared_listeners, (view.listening, Style(stance, on_demand), places)),
        (particular_listeners, (view.listening, stance)),
        (virtual_listeners, (view.scope, stance)),
        *(((dns_listeners, (view.scope,)),) if view.capture.dns else ()),
        *own,
    )


def _places(view: ProxyView) -> tuple[tuple[Place, ...], Maps]:
    """Where the proxy has listeners that no service is behind, and their maps; of two at one place one is."""
    maps: Maps = ()
    bound = () if view.inbound is None else tuple((b.bind, b.target) for b in view.inbound.bindings if b.bind)
    if bound:
        maps = ((bound_listeners, (view.inbound, view.stance)),)
    proxy = (view.stance.loopback, view.capture.http_proxy)
    if view.capture.http_proxy and proxy not in bound:
        return (*bound, proxy), (*maps, (http_proxies, (view.capture.http_proxy, view.stance)))
    return bound, maps


@keyed
def common_listeners(q: Q, dns: bool, stance: Stance = USUAL) -> Plan:
    """Listener name -> Resource, for services with addresses of their own that all clients see alike.

    `dns`: the clients' proxies answer names, so that addresses that services were given count as well.
    """
    return flat(q.map(common_own, dns), _common_listener, dns, Style(stance))


@query
def _common_listener(q: Q, dns: bool, style: Style, bind: Bind) -> tuple[tuple[str, Resource], ...]:
    return _built(q, bind, q.keys(q.part(common_own, (dns,), bind)), _NO_STRANGERS, style)


@keyed
def particular_listeners(q: Q, scope: RouteScope, stance: Stance = USUAL) -> Plan:
    """Listener name -> Resource, for the other services with addresses of their own."""
    own = l4_scope(q, scope)
    return flat(q.map(particular_own, own), _particular_listener, own, Style(stance))


@query
def _particular_listener(
    q: Q, scope: RouteScope, style: Style, bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    return _built(q, bind, own_claims(q, scope, bind), _NO_STRANGERS, style)


@keyed
def shared_listeners(q: Q, scope: RouteScope, style: Style = _USUAL, taken: tuple[Place, ...] = ()) -> Plan:
    """Listener name -> Resource, for what services share: the wildcard address, a Sidecar's own places.

    Those that are `taken` are somebody else's.
    """
    own = l4_scope(q, scope)
    return flat(shared_binds(q, own), _shared_listener, own, style, taken)


@query
def _shared_listener(
    q: Q, scope: RouteScope, style: Style, taken: tuple[Place, ...], bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    if bind.at(style.stance)[:2] in taken:
        return ()
    return _built(q, bind, shared_claims(q, scope, bind), q(fallback, scope.scope), style)


@keyed
def dialled_listeners(q: Q, scope: RouteScope, stance: Stance = USUAL, taken: tuple[Place, ...] = ()) -> Plan:
    """Listener name -> Resource, for a client to which nothing is redirected; `taken` as for others."""
    own = l4_scope(q, scope)
    return flat(dialled_binds(q, own), _dialled_listener, own, Style(stance), taken)


@query
def _dialled_listener(
    q: Q, scope: RouteScope, style: Style, taken: tuple[Place, ...], bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    if bind.at(style.stance)[:2] in taken:
        return ()
    return _built(q, bind, dialled_claims(q, scope, bind), _NO_STRANGERS, style)


def _built(
    q: Q, bind: Bind, claims: tuple[Claim, ...], rest: Fallback, style: Style
) -> tuple[tuple[str, Resource], ...]:
    if not claims or not bind.allowed(style.stance) or _is_ours(q, bind):
        return ()
    found = q(outbound_listener, bind, claims, rest, style)
    return ((found.name, found),)


def _is_ours(q: Q, bind: Bind) -> bool:
    """Whether connections are redirected to that very place."""
    return (bind.bound or bind.address == WILDCARD) and bind.port in q(listener_ports)


@keyed
def virtual_listeners(q: Q, scope: Scope, stance: Stance = USUAL) -> Plan:
    """virtualOutbound."""
    return each(q.fixed(names.VIRTUAL_OUTBOUND), _virtual_outbound, scope, stance)


@query
def _virtual_outbound(q: Q, scope: Scope, stance: Stance, _name: str) -> Resource:
    return q(virtual_outbound, q(fallback, scope), stance)
