"""One server, measured once: start, fill, connect, change, restart, grow.

A run goes through the steps in the same order for every server, with the same mesh, the same fleet and the
same changes.  All times are taken outside the server: from just before the rename that publishes an
object to the moment when each proxy's answer to the response that holds it was handed to its socket.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from controlplane.lab.churn import markers
from controlplane.lab.churn.apply import Directory
from controlplane.lab.churn.mesh import Mesh, Raw
from controlplane.lab.fleet.fleet import Fleet
from controlplane.lab.fleet.options import FleetOptions, Receipt
from controlplane.lab.subjects import Options, Running, Subject
from controlplane.lab.waiting import wait_until

Result = dict[str, Any]
_QUIET = 0.6
"""Seconds without a response after which a change has had all its effects."""
_LOST = 40.0
"""Seconds after which a change that has not reached a proxy counts as lost."""
_IDLE_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Size:
    """How large a comparison is: `proxies` for times, `most` for memory, `airbnb` seconds of that."""

    services: int = 1000
    proxies: int = 500
    most: int = 1000
    changes: int = 10
    airbnb: float = 60.0
    protocol: Literal["GRPC", "DELTA_GRPC"] = "DELTA_GRPC"

    @property
    def mesh(self) -> Mesh:
        return Mesh(services=self.services, dialect="serviceentry")


@dataclass(slots=True)
class Bench:
    """A server that runs, what it watches, and who is connected."""

    size: Size
    running: Running
    directory: Directory
    fleet: Fleet
    number: int = 0

    def next(self) -> int:
        self.number += 1
        return self.number


def measure(subject: Subject, options: Options, size: Size) -> Result:
    """All steps against one server; SubjectError or FleetError when it does not play along."""
    load = os.getloadavg()[0]
    with started(subject, options, size) as bench:
        found: Result = {
            "load": load,
            "fixed_wait": subject.fixed_wait,
            "debounce": options.debounce_after,
            "rss_services": bench.running.rss(),
            "fresh": _fresh(bench),
            "VirtualService": _series(bench, _route_change),
            "endpoints": _series(bench, _endpoint_change),
            "same": _series(bench, None),
            "idle_cpu": _idle_cpu(bench),
            "endpoint_bytes": _assignment(bench),
            "restart": None if subject.silent_when_current else _restart(bench),
        }
        found["rss"] = _memory(bench)
        found["fleet_cpu"] = sum(bench.fleet.cpu())
        found["aid_cpu"] = bench.running.aid_cpu()
        return found


@contextmanager
def started(subject: Subject, options: Options, size: Size) -> Iterator[Bench]:
    """A server that has taken in the mesh and is idle, and a fleet that is not connected yet."""
    with tempfile.TemporaryDirectory(prefix="side-") as folder:
        config = Path(folder) / "config"
        directory = Directory(config)
        with subject.start(config, options) as running:
            running.wait_ready()
            # In batches: some versions of istiod hang on more than a thousand objects at once.
            directory.fill(size.mesh.objects())
            idle(running)
            nodes = [size.mesh.node(i) for i in range(size.most)]
            with Fleet(running.address, nodes, FleetOptions(protocol=size.protocol)) as fleet:
                # An answer means that its process has started: that is no part of connecting.
                fleet.cpu()
                yield Bench(size, running, directory, fleet)


def idle(running: Running, timeout: float = 60.0) -> None:
    """Return once the server does next to nothing for a second."""

    def resting() -> bool:
        before = running.cpu()
        time.sleep(1.0)
        return running.cpu() - before <= _IDLE_SHARE

    wait_until(resting, timeout)


# -- steps --------------------------------------------------------------------------------------


def _fresh(bench: Bench) -> Result:
    """Proxies that have nothing connect for the first time."""
    cpu = bench.running.cpu()
    connected = bench.fleet.connect(bench.size.proxies, timeout=300.0)
    bench.fleet.quiet(_QUIET)
    receipts = bench.fleet.receipts()
    return {
        "warm": sorted(connected.warm.values()),
        "rss": bench.running.rss(),
        "cpu": bench.running.cpu() - cpu,
        "bytes": sum(one.bytes for one in receipts) / bench.size.proxies,
        "refused": len(connected.endings),
    }


def _restart(bench: Bench) -> Result:
    """Connected proxies lose the server; it starts anew; they come back with what they have."""
    proxies = bench.fleet.proxies[: bench.size.proxies]
    before = {kind: len(names) for kind, names in bench.fleet.views()[proxies[0]].items()}
    bench.fleet.drop()
    ready = bench.running.restart()
    connected = bench.fleet.connect(bench.size.proxies, timeout=300.0)
    bench.fleet.quiet(_QUIET)
    receipts = bench.fleet.receipts()
    after = {kind: len(names) for kind, names in bench.fleet.views()[proxies[0]].items()}
    return {
        "ready": ready,
        "warm": sorted(connected.warm.values()),
        "cpu": bench.running.cpu(),
        "bytes": sum(one.bytes for one in receipts) / bench.size.proxies,
        "refused": len(connected.endings),
        "same_view": before == after,
    }


def _memory(bench: Bench) -> Result:
    """What the server holds with the proxies of the other steps, and with twice as many."""
    few = bench.running.rss()
    bench.fleet.connect(bench.size.most, timeout=300.0)
    bench.fleet.quiet(_QUIET)
    idle(bench.running, 10.0)
    bench.fleet.receipts()
    return {"few": few, "most": bench.running.rss(), "peak": bench.running.rss_peak()}


Make = Callable[[Bench, int], Raw]


def _route_change(bench: Bench, number: int) -> Raw:
    return bench.size.mesh.virtual_service(0, 1 + number % 99, number)


def _endpoint_change(bench: Bench, number: int) -> Raw:
    pods = list(bench.size.mesh.pods(_MOVED))
    pods[-1] = pods[-1]._replace(address=markers.address(number))
    return bench.size.mesh.members(_MOVED, pods)


_MOVED = 3
"""The service whose endpoints change; it has no rules."""


def _series(bench: Bench, make: Make | None) -> Result:
    """Changes, each after the effects of the one before; None rewrites an object as it is."""
    bench.fleet.quiet(_QUIET)
    bench.fleet.receipts()
    proxies = bench.size.proxies
    latencies: list[list[float]] = []
    rest: list[Receipt] = []
    missing = 0
    bench.fleet.turns()
    fleet = sum(bench.fleet.cpu())
    cpu, began = bench.running.cpu(), time.monotonic()
    count = bench.size.changes
    for _ in range(count):
        number = bench.next()
        raw = bench.size.mesh.virtual_service(10, 90) if make is None else make(bench, number)
        at = bench.directory.put(raw)
        receipts = _collect(bench, number, proxies if make else 0)
        has = {one.proxy: one for one in receipts if number in one.markers}
        if make is not None:
            latencies.append(sorted((one.answered or one.at) - at for one in has.values()))
            missing += proxies - len(has)
        rest += receipts
    return {
        "latencies": latencies,
        "missing": missing,
        "cpu": (bench.running.cpu() - cpu) / count,
        "seconds": time.monotonic() - began,
        "fleet_cpu": (sum(bench.fleet.cpu()) - fleet) / count,
        "late": max((turn.seconds for turn in bench.fleet.turns()), default=0.0),
        "bytes": sum(one.bytes for one in rest) / count / proxies,
        "bytes_by_type": {
            kind: sum(one.bytes for one in rest if one.type == kind) / count / proxies
            for kind in sorted({one.type for one in rest})
        },
        "responses": len(rest) / count / proxies,
        "refused": sum(not one.ok for one in rest),
    }


def _collect(bench: Bench, number: int, proxies: int) -> list[Receipt]:
    """All that follows from a change: until so many proxies have it, and until it is quiet."""
    found: list[Receipt] = []
    have: set[str] = set()

    def done() -> bool:
        time.sleep(0.05)
        some = bench.fleet.receipts()
        found.extend(some)
        have.update(one.proxy for one in some if number in one.markers)
        return len(have) >= proxies

    wait_until(done, _LOST)
    # Without proxies to wait for, the server gets the time that its source and debounce may take.
    bench.fleet.quiet(_QUIET if proxies else 1.5)
    return found + bench.fleet.receipts()


def _idle_cpu(bench: Bench, seconds: float = 2.0) -> float:
    """CPU seconds per second while nothing happens."""
    bench.fleet.quiet(_QUIET)
    before, began = bench.running.cpu(), time.monotonic()
    time.sleep(seconds)
    return (bench.running.cpu() - before) / (time.monotonic() - began)


def _assignment(bench: Bench) -> int:
    """The bytes of the one ClusterLoadAssignment that an endpoint change is about."""
    contents = bench.fleet.contents(bench.fleet.proxies[0])["eds"]
    host = bench.size.mesh.host(_MOVED)
    return next(len(body) for name, body in contents.items() if name.endswith(f"|{host}"))
