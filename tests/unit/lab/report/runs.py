"""Run folders as small as they can be, whose figures are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from controlplane.lab.latency import dataset
from controlplane.lab.latency.dataset import Change, Latency, Sample

START = 1000.0


def run_folder(
    folder: Path, subject: str = "mini-istiod", factor: float = 1.0, stages: bool = True, **about: Any
) -> Path:
    """Three changes at two proxies, received after 10, 20, 30 ms and twice that, times `factor`."""
    folder.mkdir(parents=True)
    changes = [
        Change(n, kind, "ns", f"o{n}", "put", float(n), START + n)
        for n, kind in ((1, "ServiceEntry"), (2, "VirtualService"), (3, "ServiceEntry"))
    ]
    rows = [_row(n, proxy, n * proxy * 0.010 * factor, stages) for n in (1, 2, 3) for proxy in (1, 2)]
    rows.append(Latency(3, "p3.ns", touched=False))
    rows.append(Latency(3, "p4.ns", touched=True, status="unanswered"))
    samples = [
        Sample(START + at, "server", 0.1 * at, 50_000_000, 0.0, 0.002 * at, 0.001 if stages else None)
        for at in range(5)
    ]
    dataset.write(folder / "changes.csv", Change, changes)
    dataset.write(folder / "latency.csv", Latency, rows)
    dataset.write(folder / "samples.csv", Sample, samples)
    summary = {
        "scenario": "tiny",
        "subject": subject,
        "bytes_per_change": 1234.0 * factor,
        "pushes_per_change": 2.0,
        "cpu_seconds_per_change": 0.005 * factor,
        "rss_mb": 50.0,
        "agreement": {"holds": True, "rows": 6, "within_allowed": 0.5, "apart": 0, "allowed_ms": 1.0}
        | {"would_notice": {"-20 ms": 0.5, "-5 ms": 0.12, "+5 ms": 0.6666, "+20 ms": None}},
        "lag_ms": {"p50": 1.5, "p99": 2.5, "max": 8.25},
    }
    told = {
        "command": ["mini-istiod", "bench", "run", "tiny", "--note", "two words"],
        "description": "A run for tests <not large>.",
        "seed": 77,
        "sizes": {"services": 3},
        "environment": {"cpus": 2, "kernel": "6.1-test"},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "run.json").write_text(json.dumps(told | about))
    return folder


def _row(number: int, proxy: int, outside: float, stages: bool) -> Latency:
    if not stages:
        return Latency(number, f"p{proxy}.ns", True, outside=outside, status="received")
    # A tenth of the time each, and the ACK a tenth after the write.
    tenth = outside / 10
    return Latency(
        number,
        f"p{proxy}.ns",
        True,
        source=tenth,
        debounce_in=2 * tenth,
        commit=4 * tenth,
        compute=5 * tenth,
        plan=8 * tenth,
        write=9 * tenth,
        ack=11 * tenth,
        outside=outside,
        status="acked",
        type="eds" if number != 2 else "rds",
    )
