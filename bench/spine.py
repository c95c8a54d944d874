"""From a change to bytes: what one change costs, and whether that grows with the mesh.

A thousand services with ten endpoints each, a hundred namespaces with one proxy each, so every
namespace is a scope of its own.  Then one change of each sort, many times.  Counts of queries and of
serialised messages are exact and the same on every machine; times are not.

The slope asks how the cost of one change depends on the size of the mesh: control planes of all sizes
run side by side and take turns, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import plant
from bench.figures import median, summary
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet

SIZES = (100, 300, 1000, 3000, 5000, 10_000)
_SLOPE_SCOPES = 10


def run(repeats: int = 20, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Both parts; times in milliseconds, cold builds in seconds."""
    return {"changes": _changes(repeats), "slope": _slope(repeats, sizes)}


@contextlib.contextmanager
def _site(size: mesh.Mesh) -> Iterator[tuple[Child, dict[str, Any]]]:
    """A filled control plane with one connected proxy per namespace, and what the cold build took."""
    with (
        tempfile.TemporaryDirectory() as folder,
        child("plane", plant.main, f"unix:{Path(folder) / 'plane'}", size) as plane,
        Fleet(f"unix:{Path(folder) / 'plane'}", map(size.node, range(size.namespaces))) as fleet,
    ):
        plane.ask("state")
        began = time.monotonic()
        filled = plane.ask("fill", timeout=300)
        before = plane.ask("state")
        fleet.connect(timeout=300)
        wall = time.monotonic() - began
        seen = plane.ask("seen")
        after = plane.ask("state")
        yield (
            plane,
            {
                "services": size.services,
                "scopes": size.namespaces,
                "objects": filled["objects"],
                "parse": filled["seconds"],
                "wall": wall,
                "cpu": filled["cpu"] + after["cpu"] - before["cpu"],
                "runs": after["runs"],
                "nodes": after["nodes"],
                "rss": after["rss"],
                "mb": seen["size"] / 2**20,
                "lag": summary(seen["lags"], 1000),
                "pauses": summary(seen["pauses"], 1000),
            },
        )


def _changes(repeats: int) -> dict[str, Any]:
    size = mesh.Mesh()
    sorts: dict[str, Callable[[int], mesh.Raw]] = {
        "one endpoint": lambda n: size.slice(5, n),
        "one VirtualService": lambda n: size.virtual_service(0, 20 + n),
        "one DestinationRule": lambda n: size.destination_rule(5, 200 + n),
        "one new service": lambda n: size.service(size.services + n),
        "one unrelated object": lambda n: mesh.unrelated(n),
    }
    with _site(size) as (plane, cold):
        # The first of each sort creates queries that later ones only run again.
        return {
            "cold": cold,
            "sorts": {
                name: _sum([plane.ask("change", raw=change(n + 1)) for n in range(repeats + 1)][1:])
                for name, change in sorts.items()
            },
        }


def _sum(made: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {name: median(one[name] for one in made) for name in ("runs", "serialised", "size", "echoes")}
    last = [one["last_ack"] for one in made if one["last_ack"] is not None]
    return {
        **counts,
        "sent": made[-1]["sent"],
        "queries": made[-1]["queries"],
        "commit": summary((one["committed"] for one in made), 1000),
        "settled": summary((one["settled"] for one in made), 1000),
        "last_ack": summary(last, 1000),
        "cpu": summary((one["cpu"] for one in made), 1000),
        "lag": summary((one["lag"] for one in made), 1000),
        "pauses": summary((sum(one["pauses"]) for one in made), 1000),
    }


def _slope(repeats: int, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        sites = [(mesh.Mesh(services=services, namespaces=_SLOPE_SCOPES), services) for services in sizes]
        open_sites = [(size, *stack.enter_context(_site(size))) for size, _ in sites]
        made: list[list[dict[str, Any]]] = [[] for _ in open_sites]
        for n in range(repeats + 1):
            for row, (size, plane, _) in zip(made, open_sites, strict=True):
                row.append(plane.ask("change", raw=size.slice(5, n + 1)))
        return [
            {"cold": cold, "endpoint": _sum(row[1:])}
            for row, (_, _, cold) in zip(made, open_sites, strict=True)
        ]
