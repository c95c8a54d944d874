"""Which keyed maps a proxy's configuration is made of, by resource type.

The one place where a projection becomes leases.  The maps of a type have no name in common, and none
of them depends on anything but its arguments: proxies with equal arguments share one map.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from controlplane.envoy.clusters import cluster_maps
from controlplane.envoy.endpoints import assignment_maps
from controlplane.envoy.listeners import listener_maps
from controlplane.envoy.routes import route_maps
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.graph import Keyed
from controlplane.mesh.projections import ProxyView

Maps: TypeAlias = tuple[tuple[Keyed[...], tuple[Any, ...]], ...]


def feeds(view: ProxyView) -> dict[str, Maps]:
    """Type URL -> the keyed maps (with their arguments) whose union the proxy is served."""
    return {
        CLUSTER: cluster_maps(view),
        ENDPOINT: assignment_maps(view),
        LISTENER: listener_maps(view),
        ROUTE: route_maps(view),
    }
