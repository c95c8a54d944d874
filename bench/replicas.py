"""`python -m bench.replicas`: what a second and a third control plane process bring on one machine.

Each process has its own graph, made from the same directory.  They share one TCP port (SO_REUSEPORT: the
kernel gives every new connection to one of them), or each has a port and a fixed part of the proxies.
A thousand proxies connect, all come back at once, and are told of changed endpoints and routes.

What one process would take if it had a core to itself is bound by its CPU seconds.  So beside the times,
which are those of a machine that has no core to spare, there is the CPU of the busiest process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from bench import census, figures, machine
from bench.plant import LAG_INTERVAL, cpu_seconds, free_port, run_loop, settings_for
from controlplane.app import compose
from controlplane.app.serve import live
from controlplane.lab.child import Child, child, serve
from controlplane.lab.churn.apply import Directory
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet import Fleet, FleetOptions
from controlplane.telemetry import logs
from controlplane.telemetry.runtime import GcPauses, watch_loop

_QUIET = 0.3
"""Seconds without a response after which a change has reached everybody."""
_FLEETS = 2
"""Processes that the proxies live in, however many control planes there are."""


@dataclass(frozen=True, slots=True)
class Arm:
    """So many processes, on one port or on one each."""

    processes: int
    shared: bool

    @property
    def name(self) -> str:
        ports = "one port" if self.shared or self.processes == 1 else "own ports"
        return f"{self.processes}, {ports}"


ARMS = (Arm(1, False), Arm(2, True), Arm(2, False), Arm(3, True))


# -- a control plane's process ----------------------------------------------------------------------


def main(pipe: Pipe, config: str, address: str, shared: bool) -> None:
    """The process: serves the directory on `address` until the parent hangs up."""
    run_loop(_serve(pipe, Path(config), address, shared))


async def _serve(pipe: Pipe, config: Path, address: str, shared: bool) -> None:
    logs.configure("warning", "text")
    replica = Replica(config, address, shared)
    stop = asyncio.Event()
    life = asyncio.create_task(live(replica.app, stop))
    try:
        await serve(pipe, replica.answer)
    finally:
        stop.set()
        replica.end()
        await life


class Replica:
    """A control plane as `mini-istiod discovery` makes it, and the questions about it."""

    def __init__(self, config: Path, address: str, shared: bool) -> None:
        self.app = compose.build(settings_for(config, address, ()))
        self.app.xds.options = replace(self.app.xds.options, reuse_port=shared)
        self._lags: list[float] = []
        self._pauses: list[float] = []
        self._cpu = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._collector = GcPauses(lambda generation, seconds: self._pauses.append(seconds))
        self._collector.start()

    def end(self) -> None:
        self._collector.stop()
        if self._watching is not None:
            self._watching.cancel()

    async def answer(self, op: str, arguments: dict[str, Any]) -> Any:
        """One question of the parent: see the methods named `do_…`."""
        return await getattr(self, f"do_{op}")(**arguments)

    async def do_ready(self) -> None:
        """Wait until everything is read and settled."""
        await self.app.ingest.wait_synced()
        await self.app.debouncer.settled()
        watching = watch_loop(self.app.clock, lambda lag: self._lags.append(lag), LAG_INTERVAL)
        self._watching = asyncio.create_task(watching)

    async def do_watch(self) -> None:
        """Begin to measure anew."""
        self._lags.clear()
        self._pauses.clear()
        self._cpu = cpu_seconds()

    async def do_seen(self) -> dict[str, Any]:
        """What was measured since then, in milliseconds, and what there is now."""
        self.app.trace.on_read()
        return {
            "cpu": (cpu_seconds() - self._cpu) * 1000,
            "lag": max(self._lags, default=0.0) * 1000,
            "gc": max(self._pauses, default=0.0) * 1000,
            "rss": census.sizes()["rss"],
            "streams": len(self.app.xds.streams),
        }


# -- the experiment ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stand:
    """The control planes of one arm and their proxies."""

    directory: Directory
    planes: tuple[Child, ...]
    fleets: tuple[Fleet, ...]

    def watch(self) -> None:
        for plane in self.planes:
            plane.ask("watch")

    def seen(self) -> dict[str, Any]:
        """Sums, and what the busiest or slowest of them has."""
        found = [plane.ask("seen") for plane in self.planes]
        return {
            "cpu": sum(one["cpu"] for one in found),
            "busiest": max(one["cpu"] for one in found),
            "lag": max(one["lag"] for one in found),
            "gc": max(one["gc"] for one in found),
            "rss": sum(one["rss"] for one in found),
            "streams": [one["streams"] for one in found],
        }


@contextmanager
def stand(arm: Arm, mesh: Mesh, proxies: int) -> Iterator[Stand]:
    """Start everything; no proxy is connected yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory = Directory(folder / "config")
        directory.fill(mesh.objects())
        ports = [free_port()] * arm.processes if arm.shared else [free_port() for _ in range(arm.processes)]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        planes = tuple(
            stack.enter_context(child(f"plane-{i}", main, str(directory.path), address, arm.shared))
            for i, address in enumerate(addresses)
        )
        for plane in planes:
            plane.tell("ready")
        for plane in planes:
            plane.answer()
        nodes = [mesh.node(i) for i in range(proxies)]
        ends = sorted(set(addresses))
        options = FleetOptions(processes=max(1, _FLEETS // len(ends)))
        fleets = tuple(
            stack.enter_context(Fleet(address, nodes[i :: len(ends)], options))
            for i, address in enumerate(ends)
        )
        yield Stand(directory, planes, fleets)


def measure(arm: Arm, mesh: Mesh, proxies: int, rounds: int) -> dict[str, Any]:
    """One arm once; milliseconds, MB."""
    with stand(arm, mesh, proxies) as made:
        found: dict[str, Any] = {"start": _storm(made, "connect"), "storm": _storm(made, "reconnect")}
        changes: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
            "endpoint": ("eds", lambda n: mesh.slice(5, n)),
            "route": ("rds", lambda n: mesh.virtual_service(0, 20 + n)),
        }
        for name, (short, change) in changes.items():
            made_rounds = [_change(made, short, change(n + 1), proxies) for n in range(rounds + 1)]
            found[name] = made_rounds[1:]
        return found


def _storm(made: Stand, how: str) -> dict[str, Any]:
    """All proxies connect, or all are cut off and come back; a fleet in a thread each."""
    made.watch()
    warm: list[float] = []

    async def together() -> None:
        asked = [asyncio.to_thread(_connect, fleet, how) for fleet in made.fleets]
        for times in await asyncio.gather(*asked):
            warm.extend(times)

    asyncio.run(together())
    return {"took": max(warm) * 1000, "half": figures.median(warm) * 1000, **made.seen()}


def _connect(fleet: Fleet, how: str) -> list[float]:
    connected = fleet.connect() if how == "connect" else fleet.reconnect(1.0)
    return list(connected.warm.values())


def _change(made: Stand, short: str, raw: dict[str, Any], proxies: int) -> dict[str, Any]:
    for fleet in made.fleets:
        fleet.receipts()
    made.watch()
    at = made.directory.put(raw)
    told: list[float] = []
    for fleet in made.fleets:
        fleet.quiet(_QUIET)
        told += [(one.at - at) * 1000 for one in fleet.receipts() if one.type == short]
    if len(told) != proxies:
        raise RuntimeError(f"{len(told)} of {proxies} proxies were told")
    return {"took": max(told), "half": figures.median(told), **made.seen()}


def run(proxies: int, rounds: int, repeats: int, arms: tuple[Arm, ...] = ARMS) -> dict[str, Any]:
    """All arms in turn, several times over."""
    mesh = Mesh(services=1000, namespaces=10)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {arm.name: defaultdict(list) for arm in arms}
    for _ in range(repeats):
        for arm in arms:
            for case, measured in measure(arm, mesh, proxies, rounds).items():
                found[arm.name][case] += measured if isinstance(measured, list) else [measured]
    return {"machine": machine.describe(), "proxies": proxies, "arms": found}


_COLUMNS = ("half", "took", "cpu", "busiest", "lag", "gc", "rss")


def tables(results: dict[str, Any]) -> list[str]:
    """Medians, as Markdown: one table per case."""
    arms = results["arms"]
    head = (
        "processes",
        "half told",
        "all told",
        "CPU, sum",
        "busiest",
        "loop lag",
        "GC pause",
        "RSS, sum MB",
    )
    made = []
    for case in ("endpoint", "route", "start", "storm"):
        rows = [
            (name, *(figures.median(one[column] for one in measured[case]) for column in _COLUMNS))
            for name, measured in arms.items()
        ]
        made.append(f"{case}: medians, ms\n\n{figures.table(head, rows)}")
    shares = [
        (name, " ".join(str(sorted(one["streams"])) for kind in ("start", "storm") for one in measured[kind]))
        for name, measured in arms.items()
    ]
    made.append(f"streams of each process\n\n{figures.table(('processes', 'at each connecting'), shares)}")
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.replicas", description=__doc__.split("\n")[0])
    parser.add_argument("--proxies", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the raw data here")
    args = parser.parse_args()
    results = run(args.proxies, args.rounds, args.repeats)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1))
    print(json.dumps(results["machine"]))
    print("\n\n".join(tables(results)))
