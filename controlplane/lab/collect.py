"""What a run has seen becomes its folder: raw tables first, then what is concluded from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.lab.churn.workload import Workload
from controlplane.lab.fleet import FleetOptions
from controlplane.lab.fleet.behaviour import Delay
from controlplane.lab.fleet.options import Ending
from controlplane.lab.fleet.options import Receipt as Received
from controlplane.lab.fleet.options import Turn as Turned
from controlplane.lab.latency import dataset, pushlog
from controlplane.lab.latency.agreement import Errors, agree, noticed
from controlplane.lab.latency.dataset import Change, Latency, Receipt, Sample, Turn
from controlplane.lab.latency.join import Joined, join
from controlplane.lab.latency.lateness import Waiting, of_fleet
from controlplane.lab.latency.statistics import distribution
from controlplane.lab.latency.summary import Material, summarise
from controlplane.lab.sampling import with_pauses

_SOME = 20_000
"""Rows that are enough to tell how sharp the agreement is."""


@dataclass(slots=True)
class Collected:
    """Everything that was noted while it ran; times are monotonic seconds.

    `warm` is how long each proxy took to be warm at the start, `storms` the same for each storm.
    """

    workload: Workload
    subject: str
    fleet: FleetOptions
    start: float = 0.0
    begin: float = 0.0
    end: float = 0.0
    warm: list[float] = field(default_factory=list)
    storms: list[list[float]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    receipts: Sequence[Received] = ()
    turns: Sequence[Turned] = ()
    endings: Sequence[Ending] = ()
    samples: Sequence[Sample] = ()


def conclude(found: Collected, folder: Path) -> dict[str, Any]:
    """Write the tables and the summary into the folder; gives the summary."""
    receipts = [Receipt._make(one[: len(Receipt._fields)]) for one in found.receipts]
    turns = [Turn._make(one) for one in found.turns]
    path = folder / "push-log.jsonl"
    log = pushlog.read(path) if path.exists() else None
    samples = with_pauses(found.samples, log) if log else list(found.samples)
    dataset.write(folder / "changes.csv", Change, found.changes)
    dataset.write(folder / "receipts.csv", Receipt, receipts)
    dataset.write(folder / "samples.csv", Sample, samples)
    dataset.write(folder / "turns.csv", Turn, turns)

    changes = {change.number: change for change in found.changes}
    joined = join(found.changes, receipts, log)
    rows: Sequence[Latency] = joined.rows
    extra: dict[str, Any] = {}
    if log is not None:
        busy = of_fleet(receipts, _delay(found.fleet), turns)
        errors = Errors(busy, Waiting(samples, "fleet"), Waiting(samples, "server"))
        rows, agreement = agree(joined.rows, changes, errors)
        some = rows[:: len(rows) // _SOME + 1]
        sharp = {f"{ms:+d} ms": noticed(some, changes, errors, ms / 1000) for ms in (-20, -5, 5, 20)}
        extra["agreement"] = {**agreement.as_json(), "would_notice": sharp, **_fit(joined)}
    dataset.write(folder / "latency.csv", Latency, rows)
    summary = {
        "scenario": found.workload.name,
        "subject": found.subject,
        "repeats": 1,
        **summarise(Material(rows, changes, receipts, samples, log, found.start, found.begin, found.end)),
        "warm_ms": distribution(found.warm, 1000),
        "storms_ms": [distribution(storm, 1000) for storm in found.storms],
        "endings": len(found.endings),
        **extra,
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _delay(options: FleetOptions) -> float:
    delay = options.behaviour.ack_delay
    return delay.fixed + delay.mean if isinstance(delay, Delay) else delay


def _fit(joined: Joined) -> dict[str, Any]:
    return {
        "receipts_without_response": len(joined.strays),
        "responses_without_receipt": joined.lost,
        "rules_agree": joined.same,
        "rules_differ": joined.different[:20],
    }
