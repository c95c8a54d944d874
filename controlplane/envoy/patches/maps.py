"""The maps that a proxy is served, patched: those that no patch is for are what everybody else has."""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.envoy.inbound_clusters import inbound_clusters
from controlplane.envoy.listeners_inbound import inbound_listeners
from controlplane.envoy.patches.clusters import added_clusters, patched_clusters
from controlplane.envoy.patches.extensions import extensions
from controlplane.envoy.patches.listeners import added_listeners, patched_listeners
from controlplane.envoy.patches.routes import Sides, patched_routes
from controlplane.envoy.routes import inbound_routes, passthrough_routes
from controlplane.envoy.types import CLUSTER, EXTENSION, LISTENER, ROUTE
from controlplane.graph import Keyed
from controlplane.mesh.patches import UNPATCHED, Patches, Refs, Side

Maps: TypeAlias = tuple[tuple[Keyed[...], tuple[Any, ...]], ...]

_INBOUND: tuple[Keyed[...], ...] = (inbound_clusters, inbound_listeners, inbound_routes, passthrough_routes)
"""Maps of nothing but inbound resources; of others each resource says its direction."""


def patched(
    found: dict[str, Maps], patches: Patches, ports: tuple[tuple[int, int], ...] = ()
) -> dict[str, Maps]:
    """The maps of a proxy, by type, under its patches; `ports` are a gateway's (see `Sides`)."""
    if patches == UNPATCHED:
        return found
    into, out = patches.inbound, patches.outbound
    made = dict(found)
    made[CLUSTER] = _wrapped(found[CLUSTER], patched_clusters, into.clusters, out.clusters)
    made[LISTENER] = _wrapped(found[LISTENER], patched_listeners, into.listeners, out.listeners)
    made[ROUTE] = _routes(found[ROUTE], into, out, ports)
    if patches.added_clusters:
        made[CLUSTER] += ((added_clusters, (made[CLUSTER], patches.added_clusters)),)
    if patches.added_listeners:
        made[LISTENER] += ((added_listeners, (made[LISTENER], patches.added_listeners)),)
    if patches.extensions:
        made[EXTENSION] = ((extensions, (patches.extensions,)),)
    return made


def _wrapped(maps: Maps, patched_map: Keyed[...], inbound: Refs, outbound: Refs) -> Maps:
    made: list[tuple[Keyed[...], tuple[Any, ...]]] = []
    for base, args in maps:
        mine = () if base in _INBOUND else outbound
        if inbound or mine:
            made.append((patched_map, (base, args, inbound, mine)))
        else:
            made.append((base, args))
    return tuple(made)


def _routes(maps: Maps, inbound: Side, outbound: Side, ports: tuple[tuple[int, int], ...]) -> Maps:
    made: list[tuple[Keyed[...], tuple[Any, ...]]] = []
    for base, args in maps:
        sides = Sides(inbound.routes, () if base in _INBOUND else outbound.routes, ports)
        made.append(
            (patched_routes, (base, args, sides)) if sides.inbound or sides.outbound else (base, args)
        )
    return tuple(made)
