"""Which maps a sidecar's clusters and endpoints are in: common ones, its scope's own, those of its place."""

from __future__ import annotations

from controlplane.envoy.cluster_places import placed_assignment_maps, placed_cluster_maps
from controlplane.envoy.clusters import common_clusters, particular_clusters
from controlplane.envoy.dynamic_dns import stranger_clusters
from controlplane.envoy.endpoints import common_assignments, particular_assignments
from controlplane.envoy.inbound_clusters import inbound_clusters, static_clusters
from controlplane.envoy.key_clusters import key_clusters
from controlplane.envoy.maps import Maps
from controlplane.mesh.projections import ProxyView


def cluster_maps(view: ProxyView) -> Maps:
    """The maps that hold a proxy's clusters between them: no name is in two of them."""
    common: Maps = ((common_clusters, (view.mutual,)),) if view.scope.sidecar is None else ()
    inbound: Maps = ()
    if view.inbound is not None:
        inbound = ((inbound_clusters, (view.inbound.under(), view.stance.families)),)
    keys = key_cluster_maps(view)
    own: Maps = ((particular_clusters, (view.scope, view.mutual)), *placed_cluster_maps(view))
    statics = (static_clusters, (view.stance.families,))
    return (*common, *own, *inbound, *keys, statics, (stranger_clusters, (view.scope,)))


def key_cluster_maps(view: ProxyView) -> Maps:
    """For workloads that check tokens at all."""
    guarded = view.inbound or view.gateway
    if guarded is None or not guarded.security.requests:
        return ()
    return ((key_clusters, (guarded.namespace, guarded.security.requests)),)


def assignment_maps(view: ProxyView) -> Maps:
    """The maps that hold a proxy's endpoints between them: no name is in two of them."""
    common: Maps = ((common_assignments, ()),) if view.scope.sidecar is None else ()
    return (*common, (particular_assignments, (view.scope,)), *placed_assignment_maps(view))
