"""One experiment: a server, a fleet and a schedule, and everything that was seen, in a folder.

    fill       the mesh is there before anybody connects
    connect    all proxies, until each has what it asked for
    warm up    a few edits that are not part of the schedule, and quiet
    play       the schedule, in real time
    quiet      until nobody has received anything for a while
    collect    receipts, the server's log, samples; join them, and say what follows

The server is the only one of the three that is allowed to be busy: the fleet costs a fraction of it, and the
schedule is played by a process that does nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from controlplane.base.clock import SystemClock, both
from controlplane.lab import environment
from controlplane.lab.churn.apply import Directory, play
from controlplane.lab.churn.workload import Key, Reconnect, Workload
from controlplane.lab.collect import Collected, conclude
from controlplane.lab.fleet import Fleet, FleetOptions
from controlplane.lab.latency.dataset import Change
from controlplane.lab.sampling import Sampler
from controlplane.lab.subjects import BY_NAME, Options, Running, Subject
from controlplane.lab.warm_up import touches

_PIECEMEAL = frozenset({"istiod-files"})
"""Servers that hang when they find many objects at their start."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is run, apart from the workload.

    `quiet` is for how many seconds nothing may arrive before the schedule begins and after it has ended; it
    must be longer than the debounce.  `warm_up` edits of each kind come first.  Without `push_log` only
    the outside time is known, and the server does no work for that.  `about` is added to run.json.
    """

    subject: Subject = BY_NAME["mini-istiod"]
    options: Options = field(default_factory=Options)
    proxies: int = 200
    fleet: FleetOptions = field(default_factory=FleetOptions)
    quiet: float = 1.0
    connect_timeout: float = 120.0
    warm_up: int = 3
    push_log: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)


def run(workload: Workload, setup: Setup, folder: Path) -> dict[str, Any]:
    """Run it once; `folder` (made here) gets all files, and what its summary.json says is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    described = environment.describe()
    nodes = [workload.mesh.node(i) for i in range(setup.proxies)]
    with tempfile.TemporaryDirectory(prefix="mini-istiod-bench-") as scratch:
        work = Path(scratch)
        directory, log = Directory(work / "config"), work / "push-log.jsonl"
        options = replace(setup.options, folder=work / "server", push_log=log if setup.push_log else None)
        with (
            _serving(setup.subject, directory, options, workload) as server,
            Fleet(server.address, nodes, setup.fleet) as fleet,
        ):
            found = _measure(workload, setup, _Parts(server, fleet, directory))
        directory.close()
        shutil.copy(server.log, folder / "server.log")
        if log.exists():
            shutil.copy(log, folder / log.name)
    about = _about(workload, setup, found, described)
    (folder / "run.json").write_text(json.dumps(about, indent=1) + "\n")
    return conclude(found, folder)


@dataclass(frozen=True, slots=True)
class _Parts:
    server: Running
    fleet: Fleet
    directory: Directory


@contextlib.contextmanager
def _serving(
    subject: Subject, directory: Directory, options: Options, workload: Workload
) -> Iterator[Running]:
    """The server, ready, with the whole mesh in its directory."""
    piecemeal = subject.name in _PIECEMEAL
    if not piecemeal:
        directory.fill(workload.initial, pause=0.0)
    with subject.start(directory.path, options) as server:
        server.wait_ready()
        if piecemeal:
            directory.fill(workload.initial)
        yield server


def _measure(workload: Workload, setup: Setup, parts: _Parts) -> Collected:
    fleet, server = parts.fleet, parts.server
    connected = fleet.connect(timeout=setup.connect_timeout)
    fleet.quiet(setup.quiet)
    for raw in touches(workload, setup.warm_up):
        parts.directory.put(raw)
        fleet.quiet(setup.quiet / 2)
    fleet.quiet(setup.quiet)
    found = Collected(workload=workload, subject=setup.subject.name, fleet=setup.fleet)
    found.warm = list(connected.warm.values())
    with Sampler({"server": (server.pid,), "fleet": _children()}) as sampler:
        found.begin = time.monotonic()
        asyncio.run(_play(workload, parts, found))
        fleet.quiet(setup.quiet)
        found.end = time.monotonic()
    found.receipts, found.turns = fleet.receipts(), fleet.turns()
    found.endings = fleet.endings()
    found.samples = sampler.samples
    return found


def _children() -> tuple[int, ...]:
    return tuple(child.pid for child in multiprocessing.active_children() if child.pid is not None)


async def _play(workload: Workload, parts: _Parts, found: Collected) -> None:
    """The schedule.  Storms run beside it: an edit does not wait until everybody is back."""
    storms: list[asyncio.Future[Any]] = []
    loop = asyncio.get_running_loop()

    def on_storm(storm: Reconnect) -> None:
        # One after the other: the fleet's pipes take one question at a time.
        before = storms[-1] if storms else None
        storms.append(loop.run_in_executor(None, _storm, parts.fleet, storm, len(storms), before))

    def on_edit(change: Change) -> None:
        found.changes.append(change._replace(stamped=_stamped(change, parts.directory)))

    found.start = await play(workload, parts.directory, SystemClock(), on_edit, on_storm)
    for storm in await asyncio.gather(*storms):
        found.storms.append(storm)


def _stamped(change: Change, directory: Directory) -> float | None:
    """The file's time of change, in seconds after the rename."""
    if change.action == "delete":
        return None
    file = directory.file(Key(*change.object))
    monotonic, wall = both(SystemClock())
    return file.stat().st_ctime_ns / 1e9 - (wall - monotonic) - change.at


def _storm(fleet: Fleet, storm: Reconnect, seed: int, before: asyncio.Future[Any] | None) -> list[float]:
    while before is not None and not before.done():
        time.sleep(0.01)
    return list(fleet.reconnect(storm.fraction, seed=seed).warm.values())


def _about(workload: Workload, setup: Setup, found: Collected, described: dict[str, Any]) -> dict[str, Any]:
    options, fleet = setup.options, setup.fleet
    return {
        "command": environment.command(),
        "scenario": workload.name,
        "description": workload.description,
        "subject": found.subject,
        "seed": workload.seed,
        "digest": workload.digest(),
        "sizes": {"proxies": setup.proxies, "seconds": workload.seconds, **asdict(workload.mesh)},
        "fleet": {
            "protocol": fleet.protocol,
            "processes": fleet.processes,
            "behaviour": asdict(fleet.behaviour),
        },
        "options": {
            "debounce_after": options.debounce_after,
            "debounce_max": options.debounce_max,
            "eds_debounce": options.eds_debounce,
            "throttle": options.push_throttle,
            "max_requests_per_second": options.max_requests_per_second,
            "arguments": list(options.arguments),
            "fixed_wait": setup.subject.fixed_wait,
        },
        "start": found.start,
        "begin": found.begin,
        "end": found.end,
        **setup.about,
        "environment": described,
    }
