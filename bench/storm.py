"""A thousand proxies at once: at first, and again when the control plane has restarted.

After a restart the graph is cold.  Proxies that come back name the versions that they have, so
clusters and listeners need not be sent again; endpoints and routes always are.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench import plant
from bench.figures import summary, thinned
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet

_MB = 2**20


def run(proxies: int = 1000, namespaces: int = 10) -> dict[str, Any]:
    """New proxies on a cold control plane, the same ones after its restart; seconds, MB."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 'plane'}"
        with Fleet(address, map(size.node, range(proxies))) as fleet:
            found = {}
            for name in ("start", "restart"):
                with child("plane", plant.main, address, size) as plane:
                    found[name] = _storm(plane, fleet)
                    fleet.drop()
        return {"proxies": proxies, "namespaces": namespaces, "storms": found}


def _storm(plane: Child, fleet: Fleet) -> dict[str, Any]:
    filled = plane.ask("fill")
    plane.ask("watch")
    before = plane.ask("state")
    connected = fleet.connect(timeout=300)
    fleet.receipts()
    seen = plane.ask("seen")
    after = plane.ask("state")
    return {
        "fill": filled["seconds"],
        "warm": summary(connected.warm.values()),
        "curve": thinned(connected.warm.values()),
        "refused": len(connected.endings),
        "lag": summary(seen["lags"], 1000),
        "pauses": summary(seen["pauses"], 1000),
        "sent": seen["sent"],
        "mb": seen["size"] / _MB,
        "cpu": after["cpu"] - before["cpu"],
        "runs": after["runs"] - before["runs"],
        "rss": after["rss"],
        "peak": after["peak"],
    }
