"""What a container costs that goes and comes back, and what containers cost that do nothing.

A played Docker with meshed workloads of three containers each, the control plane with its Docker source,
and a synthetic proxy for each sidecar.  One workload is told to end, ends, and starts again at another
address.  Sites of both sizes run side by side and take turns.  Bytes are those to all proxies.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import engine, plant
from bench.figures import median, summary, table
from controlplane.lab.child import Child, child
from controlplane.lab.churn import mesh
from controlplane.lab.fleet import Fleet

STEPS = ("kill", "die", "start")
_QUIET = 0.4
"""Longer than the source waits between two deliveries."""
_NOTHING = mesh.Mesh(services=0, endpoints=0, namespaces=1)


class _Open(NamedTuple):
    site: engine.Site
    docker: Child
    plane: Child
    start: dict[str, Any]


def run(
    services: tuple[int, ...] = (10, 100), replicas: int = 3, repeats: int = 5, idle: float = 32.0
) -> list[dict[str, Any]]:
    """A row for each size and protocol; times in milliseconds, `idle` seconds of doing nothing at the end."""
    sites = [engine.Site(count, replicas, protocol) for protocol in ("http", "") for count in services]
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_opened(site)) for site in sites]
        made: list[dict[str, list[dict[str, Any]]]] = [{step: [] for step in STEPS} for _ in sites]
        for n in range(repeats + 1):
            for row, one in zip(made, opened, strict=True):
                for step in STEPS:
                    row[step].append(_step(one, step, n % one.site.workloads))
        rests = _rest(opened, idle)
    return [
        {
            **one.site._asdict(),
            "workloads": one.site.workloads,
            "start": one.start,
            "steps": {step: _sum(found[1:]) for step, found in row.items()},
            "idle": rest,
        }
        for one, row, rest in zip(opened, made, rests, strict=True)
    ]


@contextlib.contextmanager
def _opened(site: engine.Site) -> Iterator[_Open]:
    with tempfile.TemporaryDirectory() as folder:
        docker, address = Path(folder) / "docker", f"unix:{Path(folder) / 'plane'}"
        flags = ("--docker", f"unix:{docker}", "--docker-project", engine.PROJECT)
        with (
            child("docker", engine.main, str(docker), site) as played,
            _ready(played),
            child("plane", plant.main, address, _NOTHING, flags) as plane,
            Fleet(address, map(site.node, range(site.workloads))) as fleet,
        ):
            plane.ask("fill")
            fleet.connect(timeout=300)
            plane.ask("seen")
            state = plane.ask("state")
            yield _Open(
                site, played, plane, {"cpu": state["cpu"], "rss": state["rss"], "runs": state["runs"]}
            )


@contextlib.contextmanager
def _ready(played: Child) -> Iterator[None]:
    """Its socket is there once it answers."""
    played.ask("lists")
    yield


def _step(one: _Open, step: str, workload: int) -> dict[str, Any]:
    one.plane.ask("watch")
    began = time.monotonic()
    one.docker.ask(step, workload=workload)
    return one.plane.ask("spent", began=began, quiet=_QUIET)


def _sum(made: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{name: median(one[name] for one in made) for name in ("runs", "serialised", "size")},
        "sent": made[-1]["sent"],
        "bytes": made[-1]["bytes"],
        "last_ack": summary((one["last_ack"] for one in made), 1000),
        "cpu": summary((one["cpu"] for one in made), 1000),
    }


def _rest(opened: list[_Open], seconds: float) -> list[dict[str, float]]:
    """What each control plane uses while nothing happens but lists: CPU milliseconds, by list."""
    before = [(one.plane.ask("state")["cpu"], one.docker.ask("lists")) for one in opened]
    time.sleep(seconds)
    found = []
    for one, (cpu, told) in zip(opened, before, strict=True):
        now = one.docker.ask("lists")
        spent = one.plane.ask("state")["cpu"] - cpu
        found.append(
            {"ms_per_s": spent / seconds * 1000, "lists": now["lists"] - told["lists"], "bytes": now["bytes"]}
        )
    return found


def tables(found: list[dict[str, Any]]) -> Iterator[str]:
    """A table for each row of `run`, with a title."""
    head = ("step", "queries run", "serialised", "responses", "bytes", "CPU p50 ms", "last ACK p50 ms")
    for one in found:
        rows = (
            (
                name,
                step["runs"],
                step["serialised"],
                " ".join(f"{count} {short}" for short, count in sorted(step["sent"].items())) or "none",
                step["size"],
                step["cpu"]["p50"],
                step["last_ack"]["p50"],
            )
            for name, step in one["steps"].items()
        )
        title = (
            f"A container among {one['workloads']} meshed workloads in {one['services']} services, protocol "
            f"{one['protocol'] or 'found out'} (idle {one['idle']['ms_per_s']:.1f} ms of CPU a second, "
            f"a list of {one['idle']['bytes'] / 1000:.0f} kB; RSS {one['start']['rss']:.0f} MB)"
        )
        yield f"### {title}\n\n{table(head, rows)}"
