"""A series: one schedule, several servers in turns, several repeats, and what they say together.

Repeat n of every server runs directly beside repeat n of the others, in an order that alternates, so
that a machine that becomes slower meanwhile is slower for all.  Ratios are taken pair by pair.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controlplane.lab import experiment
from controlplane.lab.churn.workload import Workload
from controlplane.lab.experiment import Setup
from controlplane.lab.latency.statistics import ratio
from controlplane.lab.latency.summary import pooled

COMPARED = (
    ("latency p50", "latency_ms", "p50"),
    ("latency p90", "latency_ms", "p90"),
    ("latency p99", "latency_ms", "p99"),
    ("last proxy p50", "last_receipt_ms", "p50"),
    ("CPU per change", "cpu_seconds_per_change", ""),
    ("bytes per change", "bytes_per_change", ""),
    ("memory", "rss_mb", ""),
    ("all warm", "warm_ms", "max"),
)
"""Figures that are given as ratios: title, key of summary.json, entry of its table."""


@dataclass(frozen=True, slots=True)
class Series:
    """`setups` are the servers; each is run `repeats` times."""

    workload: Workload
    setups: tuple[Setup, ...]
    repeats: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)


def run_series(series: Series, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run it all; gives what the top summary.json says.

    One run leaves its files in `out`; several leave them in folders of their own below.
    """
    alone = series.repeats * len(series.setups) == 1
    found: dict[str, list[dict[str, Any]]] = {setup.subject.name: [] for setup in series.setups}
    runs: list[str] = []
    for turn, (repeat, setup) in enumerate(_order(series), 1):
        name = setup.subject.name
        folder = out if alone else out / f"{name}-{repeat}"
        runs.append("." if alone else folder.name)
        edits = sum(1 for _ in series.workload.edits())
        total = series.repeats * len(series.setups)
        tell(
            f"{turn} of {total}: {name}, {setup.proxies} proxies, {edits} changes"
            f" in {series.workload.seconds:g} s"
        )
        about = {**series.about, "repeat": repeat}
        found[name].append(experiment.run(series.workload, replace(setup, about=about), folder))
    return _conclude(series, found, runs, out)


def _order(series: Series) -> list[tuple[int, Setup]]:
    turns = []
    for repeat in range(1, series.repeats + 1):
        setups = series.setups if repeat % 2 else series.setups[::-1]
        turns += [(repeat, setup) for setup in setups]
    return turns


def _conclude(
    series: Series, found: Mapping[str, Sequence[dict[str, Any]]], runs: list[str], out: Path
) -> dict[str, Any]:
    first, *others = found
    told = {
        name: {**pooled(some, series.workload.seed), "repeats": series.repeats}
        for name, some in found.items()
    }
    summary: dict[str, Any] = {"scenario": series.workload.name, "runs": runs, "subjects": told}
    if others:
        summary["ratios"] = {
            other: _ratios(found[other], found[first], series.workload.seed) for other in others
        }
        summary["against"] = first
    if runs != ["."]:
        (out / "series.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _ratios(
    theirs: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, dict[str, object]]:
    """Theirs through ours: how many times as much the other one takes."""
    ratios = {}
    for title, key, entry in COMPARED:
        pairs = [
            (_figure(one, key, entry), _figure(other, key, entry))
            for one, other in zip(theirs, ours, strict=True)
        ]
        known = [(a, b) for a, b in pairs if a and b]
        if known:
            ratios[title] = ratio([a for a, _ in known], [b for _, b in known], seed)
    return ratios


def _figure(summary: Mapping[str, Any], key: str, entry: str) -> float | None:
    value = summary.get(key)
    return value.get(entry) if isinstance(value, Mapping) else value
