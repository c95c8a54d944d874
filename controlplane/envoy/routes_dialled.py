"""The route configurations that a sidecar needs for how its application comes to it.

Where connections are redirected these are those of `controlplane.envoy.routes`, and where the sidecar is an
HTTP proxy some more.  Where the application dials the sidecar, each port has one, whatever its services'
addresses.
"""

from __future__ import annotations

from controlplane.envoy.http_proxy import placed_routes, proxy_routes
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_claims import l4_scope
from controlplane.envoy.listeners_dialled import dialled_binds, dialled_claims
from controlplane.envoy.maps import Maps
from controlplane.envoy.resource import Resource
from controlplane.envoy.routes import inbound_maps, port_routes, route_maps
from controlplane.graph import Keyed, Plan, Q, flat, keyed, query
from controlplane.mesh.projections import ProxyView, RouteScope


def sidecar_routes(view: ProxyView, shared: Keyed[[RouteScope]] | None = None) -> Maps:
    """The maps that hold a sidecar's route configurations between them; `shared` as in `route_maps`."""
    proxies: Maps = ((proxy_routes, (view.routes,)),) if view.capture.http_proxy else ()
    if view.scope.sidecar is not None:
        proxies = (*proxies, (placed_routes, (view.routes,)))
    if view.capture.mode != "NONE":
        return (*route_maps(view, shared), *proxies)
    inbound = () if view.inbound is None else inbound_maps(view.inbound)
    return ((dialled_routes, (view.routes,)), *inbound, *proxies)


@keyed
def dialled_routes(q: Q, scope: RouteScope) -> Plan:
    """Route configuration name -> Resource, for each port that the application may dial for HTTP."""
    listeners = l4_scope(q, scope)
    return flat(dialled_binds(q, listeners), _dialled_routes, scope, listeners)


@query
def _dialled_routes(
    q: Q, scope: RouteScope, listeners: RouteScope, bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    if bind.proxy or not any(claim.http for claim in dialled_claims(q, listeners, bind)):
        return ()
    return ((bind.routes, q(port_routes, scope, bind.port)),)
