"""LDS: the listeners of a sidecar.

Outbound listeners do not bind: `virtualOutbound` takes what was redirected and hands it to the listener
of the address that was dialled.  Listeners change rarely on purpose.  What a port's listener says depends
on which protocols its services speak and, for HTTP, not on which services those are; routes, endpoints
and policies live elsewhere.
"""

from __future__ import annotations

from controlplane.envoy import names
from controlplane.envoy.dns import dns_listeners
from controlplane.envoy.listeners_claims import (
    Bind,
    common_own,
    l4_scope,
    own_claims,
    particular_own,
    shared_binds,
    shared_claims,
)
from controlplane.envoy.listeners_inbound import inbound_listeners
from controlplane.envoy.listeners_outbound import outbound_listener, virtual_outbound
from controlplane.envoy.resource import Resource
from controlplane.graph import Keyed, Plan, Q, each, flat, keyed, query
from controlplane.mesh.projections import ProxyView, RouteScope, Scope
from controlplane.mesh.routing_fallback import Fallback, fallback

__all__ = [
    "common_listeners",
    "inbound_listeners",
    "listener_maps",
    "on_demand_listeners",
    "particular_listeners",
    "shared_listeners",
    "virtual_listeners",
]

# A listener of an address of its own knows where everything goes.
_NO_STRANGERS = Fallback()


def listener_maps(
    view: ProxyView, *, on_demand: bool = False
) -> tuple[tuple[Keyed[...], tuple[object, ...]], ...]:
    """The maps that hold a sidecar's listeners between them: no name is in two of them.

    `on_demand`: the virtual hosts of ports come when they are asked for.
    """
    common = ((common_listeners, (view.capture.dns,)),) if view.scope.sidecar is None else ()
    inbound = () if view.inbound is None else ((inbound_listeners, (view.inbound,)),)
    return (
        *common,
        (on_demand_listeners if on_demand else shared_listeners, (view.listening,)),
        (particular_listeners, (view.listening,)),
        (virtual_listeners, (view.scope,)),
        *(((dns_listeners, (view.scope,)),) if view.capture.dns else ()),
        *inbound,
    )


@keyed
def common_listeners(q: Q, dns: bool) -> Plan:
    """Listener name -> Resource, for services with addresses of their own that all clients see alike.

    `dns`: the clients' proxies answer names, so that addresses that services were given count as well.
    """
    return flat(q.map(common_own, dns), _common_listener, dns)


@query
def _common_listener(q: Q, dns: bool, bind: Bind) -> tuple[tuple[str, Resource], ...]:
    claims = q.keys(q.part(common_own, (dns,), bind))
    return ((bind.name, q(outbound_listener, bind, claims, _NO_STRANGERS)),) if claims else ()


@keyed
def particular_listeners(q: Q, scope: RouteScope) -> Plan:
    """Listener name -> Resource, for the other services with addresses of their own."""
    own = l4_scope(q, scope)
    return flat(q.map(particular_own, own), _particular_listener, own)


@query
def _particular_listener(q: Q, scope: RouteScope, bind: Bind) -> tuple[tuple[str, Resource], ...]:
    claims = own_claims(q, scope, bind)
    return ((bind.name, q(outbound_listener, bind, claims, _NO_STRANGERS)),) if claims else ()


@keyed
def shared_listeners(q: Q, scope: RouteScope) -> Plan:
    """Listener name -> Resource, for the wildcard address: one per port."""
    own = l4_scope(q, scope)
    return flat(shared_binds(q, own), _shared_listener, own, False)


@keyed
def on_demand_listeners(q: Q, scope: RouteScope) -> Plan:
    """The same for a client whose virtual hosts come on demand."""
    own = l4_scope(q, scope)
    return flat(shared_binds(q, own), _shared_listener, own, True)


@query
def _shared_listener(
    q: Q, scope: RouteScope, on_demand: bool, bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    claims = shared_claims(q, scope, bind)
    rest = q(fallback, scope.scope)
    return ((bind.name, q(outbound_listener, bind, claims, rest, on_demand)),) if claims else ()


@keyed
def virtual_listeners(q: Q, scope: Scope) -> Plan:
    """virtualOutbound."""
    return each(q.fixed(names.VIRTUAL_OUTBOUND), _virtual_outbound, scope)


@query
def _virtual_outbound(q: Q, scope: Scope, _name: str) -> Resource:
    return q(virtual_outbound, q(fallback, scope))
