"""Which keyed maps a proxy's configuration is made of, by resource type.

The one place where a projection becomes leases.  The maps of a type have no name in common, and none
of them depends on anything but its arguments: proxies with equal arguments share one map.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.envoy.clusters import cluster_maps
from controlplane.envoy.endpoints import assignment_maps
from controlplane.envoy.gateway_clusters import gateway_assignment_maps, gateway_cluster_maps
from controlplane.envoy.gateway_listeners import gateway_listeners
from controlplane.envoy.gateway_routes import gateway_routes
from controlplane.envoy.gateway_tls import credential_secrets
from controlplane.envoy.listeners import listener_maps
from controlplane.envoy.on_demand import on_demand_hosts, on_demand_routes
from controlplane.envoy.routes import route_maps
from controlplane.envoy.secrets import secret_maps
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from controlplane.graph import Keyed
from controlplane.mesh.projections import GatewayScope, ProxyView

Maps: TypeAlias = tuple[tuple[Keyed[...], tuple[Any, ...]], ...]


def feeds(view: ProxyView, *, on_demand: bool = False) -> dict[str, Maps]:
    """Type URL -> the keyed maps (with their arguments) whose union the proxy is served.

    `on_demand`: a sidecar is given its virtual hosts when it asks for them.  Its bytes differ from those
    of others in the listeners and route configurations of ports, and in nothing else.

    A proxy without an identity has no secrets, not even an empty map of them.
    """
    found = _sidecar(view, on_demand) if view.gateway is None else _edge(view, view.gateway)
    if view.holder is not None:
        found[SECRET] = secret_maps(view.holder)
        if view.gateway is not None:
            own = view.holder.identity.namespace
            found[SECRET] += ((credential_secrets, (view.gateway.edge, own)),)
    return found


def _sidecar(view: ProxyView, on_demand: bool) -> dict[str, Maps]:
    found: dict[str, Maps] = {CLUSTER: cluster_maps(view), ENDPOINT: assignment_maps(view)}
    if on_demand and view.inbound is not None:
        found[LISTENER] = listener_maps(view, on_demand=True)
        found[ROUTE] = route_maps(view, on_demand_routes)
        found[VIRTUAL_HOST] = ((on_demand_hosts, (view.routes,)),)
    else:
        found[LISTENER] = listener_maps(view)
        found[ROUTE] = route_maps(view)
    return found


def _edge(view: ProxyView, gateway: GatewayScope) -> dict[str, Maps]:
    # What sidecars are told about other services' ports is no business of a proxy at the edge.
    return {
        CLUSTER: gateway_cluster_maps(view),
        ENDPOINT: gateway_assignment_maps(view),
        LISTENER: ((gateway_listeners, (gateway,)),),
        ROUTE: ((gateway_routes, (gateway,)),),
    }
