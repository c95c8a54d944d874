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
from controlplane.lab.fleet import process as fleet

_MB = 2**20


def run(proxies: int = 1000, namespaces: int = 10) -> dict[str, Any]:
    """New proxies on a cold control plane, the same ones after its restart; seconds, MB."""
    size = mesh.Mesh(services=1000, namespaces=namespaces)
    with (
        tempfile.TemporaryDirectory() as folder,
        child("fleet", fleet.main, size, tuple(range(proxies))) as peers,
    ):
        address = f"unix:{Path(folder) / 'plane'}"
        found = {}
        for name in ("start", "restart"):
            with child("plane", plant.main, address, size) as plane:
                found[name] = _storm(plane, peers, address)
            peers.ask("drop")
        return {"proxies": proxies, "namespaces": namespaces, "storms": found}


def _storm(plane: Child, peers: Child, address: str) -> dict[str, Any]:
    filled = plane.ask("fill")
    plane.ask("watch")
    before = plane.ask("state")
    peers.ask("notes")
    connected = peers.ask("connect", address=address, timeout=300)
    seen = plane.ask("seen")
    after = plane.ask("state")
    return {
        "fill": filled["seconds"],
        "warm": summary(connected["warm"]),
        "curve": thinned(connected["warm"]),
        "refused": len(connected["endings"]),
        "lag": summary(seen["lags"], 1000),
        "pauses": summary(seen["pauses"], 1000),
        "sent": seen["sent"],
        "mb": seen["size"] / _MB,
        "cpu": after["cpu"] - before["cpu"],
        "runs": after["runs"] - before["runs"],
        "rss": after["rss"],
        "peak": after["peak"],
    }
