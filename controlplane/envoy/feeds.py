"""Which keyed maps a proxy's configuration is made of, by resource type.

The one place where a projection becomes leases.  The maps of a type have no name in common, and none
of them depends on anything but its arguments: proxies with equal arguments share one map.
"""

from __future__ import annotations

from controlplane.envoy.cluster_maps import assignment_maps, cluster_maps
from controlplane.envoy.cluster_secrets import selected_secrets
from controlplane.envoy.gateway_clusters import gateway_assignment_maps, gateway_cluster_maps
from controlplane.envoy.gateway_listeners import gateway_listeners
from controlplane.envoy.gateway_routes import gateway_routes
from controlplane.envoy.gateway_tls import credential_secrets
from controlplane.envoy.listeners import listener_maps
from controlplane.envoy.maps import Maps
from controlplane.envoy.on_demand import on_demand_hosts, on_demand_routes
from controlplane.envoy.patches.maps import patched
from controlplane.envoy.routes_dialled import sidecar_routes
from controlplane.envoy.secrets import secret_maps
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from controlplane.mesh.projections import GatewayScope, ProxyView


def feeds(view: ProxyView, *, on_demand: bool = False) -> dict[str, Maps]:
    """Type URL -> the keyed maps (with their arguments) whose union the proxy is served.

    `on_demand`: a sidecar is given its virtual hosts when it asks for them.  Its bytes differ from those
    of others in the listeners and route configurations of ports, and in nothing else.

    A proxy without an identity has no secrets, not even an empty map of them.
    """
    if view.gateway is None:
        # Patches find virtual hosts by their names; those on demand have the names that are asked for.
        whole = bool(view.patches.outbound.routes)
        found = patched(_sidecar(view, on_demand and not whole), view.patches)
    else:
        found = patched(_edge(view, view.gateway), view.patches, view.gateway.edge.ports)
    if view.holder is not None:
        found[SECRET] = secret_maps(view.holder)
        if view.gateway is not None:
            own = view.holder.identity.namespace
            found[SECRET] += ((credential_secrets, (view.gateway.edge, own)),)
        elif view.scope.rules:
            found[SECRET] += ((selected_secrets, (view.scope.rules, view.holder.identity.namespace)),)
    return found


def _sidecar(view: ProxyView, on_demand: bool) -> dict[str, Maps]:
    found: dict[str, Maps] = {CLUSTER: cluster_maps(view), ENDPOINT: assignment_maps(view)}
    # Who dials its sidecar does so at few places: there is nothing to hold back.
    if on_demand and view.inbound is not None and view.capture.mode != "NONE":
        found[LISTENER] = listener_maps(view, on_demand=True)
        found[ROUTE] = sidecar_routes(view, on_demand_routes)
        found[VIRTUAL_HOST] = ((on_demand_hosts, (view.routes,)),)
    else:
        found[LISTENER] = listener_maps(view)
        found[ROUTE] = sidecar_routes(view)
    return found


def _edge(view: ProxyView, gateway: GatewayScope) -> dict[str, Maps]:
    # What sidecars are told about other services' ports is no business of a proxy at the edge.
    return {
        CLUSTER: gateway_cluster_maps(view, gateway),
        ENDPOINT: gateway_assignment_maps(view, gateway),
        LISTENER: ((gateway_listeners, (gateway,)),),
        ROUTE: ((gateway_routes, (gateway,)),),
    }
