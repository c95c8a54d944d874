"""Whether there are hosts that proxies resolve themselves; a gateway may be asked for any of them."""

from __future__ import annotations

from controlplane.graph import Q, query
from controlplane.model.kinds import service_entries


@query
def resolves_hosts(q: Q) -> bool:
    """Whether some ServiceEntry of the mesh has hosts that are resolved when they are asked for."""
    return bool(q.index(service_entries, "dynamic", True))
