"""The maps that a proxy is served, patched: those that no patch is for are what everybody else has."""

from __future__ import annotations

from controlplane.envoy.inbound_clusters import inbound_clusters
from controlplane.envoy.listeners_inbound import inbound_listeners
from controlplane.envoy.maps import Map, Maps
from controlplane.envoy.patches.clusters import added_clusters, patched_clusters
from controlplane.envoy.patches.directions import Directions
from controlplane.envoy.patches.extensions import extensions
from controlplane.envoy.patches.listeners import added_listeners, patched_listeners
from controlplane.envoy.patches.routes import patched_routes
from controlplane.envoy.routes import inbound_routes, passthrough_routes
from controlplane.envoy.types import CLUSTER, EXTENSION, LISTENER, ROUTE
from controlplane.graph import Keyed
from controlplane.mesh.patches import UNPATCHED, Patches

_INBOUND: tuple[Keyed[...], ...] = (inbound_clusters, inbound_listeners, inbound_routes, passthrough_routes)
"""Maps of nothing but inbound resources; of others each resource says its direction."""


def patched(
    found: dict[str, Maps], patches: Patches, ports: tuple[tuple[int, int], ...] = ()
) -> dict[str, Maps]:
    """The maps of a proxy, by type, under its patches; `ports` are a gateway's (see `Directions`)."""
    if patches == UNPATCHED:
        return found
    into, out = patches.inbound, patches.outbound
    made = dict(found)
    wanted = {
        CLUSTER: (patched_clusters, Directions(into.clusters, out.clusters)),
        LISTENER: (patched_listeners, Directions(into.listeners, out.listeners)),
        ROUTE: (patched_routes, Directions(into.routes, out.routes, ports)),
    }
    for type_url, (over, directions) in wanted.items():
        made[type_url] = tuple(_over(source, over, directions) for source in found[type_url])
    if patches.added_clusters:
        made[CLUSTER] += ((added_clusters, (made[CLUSTER], patches.added_clusters)),)
    if patches.added_listeners:
        made[LISTENER] += ((added_listeners, (made[LISTENER], patches.added_listeners)),)
    if patches.extensions:
        made[EXTENSION] = ((extensions, (patches.extensions,)),)
    return made


def _over(source: Map, patched_map: Keyed[...], directions: Directions) -> Map:
    """A map of patched resources in place of another one; itself where no patch is for any of them."""
    if source[0] in _INBOUND:
        directions = directions._replace(outbound=())
    return (patched_map, (source, directions)) if directions.inbound or directions.outbound else source
