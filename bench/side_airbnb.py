"""Airbnb's published lab against one server: 50 services, 500 pods, routes and endpoints that change."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from bench.side_runs import Result, idle
from controlplane.base.clock import SystemClock
from controlplane.lab.churn.apply import Directory, play
from controlplane.lab.churn.workloads import workload
from controlplane.lab.fleet.fleet import Fleet
from controlplane.lab.fleet.options import FleetOptions
from controlplane.lab.latency.dataset import Change, Receipt
from controlplane.lab.latency.join import join
from controlplane.lab.subjects import Options, Subject

_QUIET = 3.0
"""Seconds without a response at the end: longer than any source's and debounce's wait."""


def measure(subject: Subject, options: Options, seconds: float, seed: int, proxies: int = 500) -> Result:
    """Every latency from a rename to a proxy's receipt, debounce included; one proxy for each pod."""
    made = workload("airbnb", seed=seed, seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="side-") as folder:
        config = Path(folder) / "config"
        directory = Directory(config)
        nodes = [made.mesh.node(i) for i in range(proxies)]
        with (
            subject.start(config, options) as running,
            Fleet(running.address, nodes, FleetOptions()) as fleet,
        ):
            running.wait_ready()
            directory.fill(made.initial)
            idle(running)
            fleet.connect(timeout=300.0)
            fleet.quiet(_QUIET)
            fleet.receipts()
            cpu = running.cpu()
            changes: list[Change] = []
            asyncio.run(play(made, directory, SystemClock(), changes.append))
            fleet.quiet(_QUIET)
            spent = running.cpu() - cpu
            receipts = fleet.receipts()
    rows = join(changes, [Receipt(*one[:8]) for one in receipts]).rows
    return {
        "fixed_wait": subject.fixed_wait,
        "changes": len(changes),
        "latencies": sorted(row.outside for row in rows if row.outside is not None),
        "unseen": sum(row.outside is None for row in rows),
        "cpu": spent / max(len(changes), 1),
        "bytes": sum(one.bytes for one in receipts) / max(len(changes), 1) / proxies,
        "digest": made.digest(),
    }
