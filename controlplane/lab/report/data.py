"""A run folder, read: what was run, what was measured, and the figures that the plots are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.lab.latency import dataset
from controlplane.lab.latency.dataset import Change, DatasetError, Latency, Sample
from controlplane.lab.latency.summary import counts
from controlplane.lab.report.words import STAGES

MS = 1000.0
"""Milliseconds in a second: the files have seconds, people read milliseconds."""


@dataclass(frozen=True, slots=True)
class Run:
    """One repeat of an experiment.  `rows` are the changes that reached a proxy, one row for each proxy."""

    folder: Path
    about: Mapping[str, Any]
    summary: Mapping[str, Any]
    changes: Mapping[int, Change]
    rows: Sequence[Latency]
    samples: Sequence[Sample]

    @property
    def subject(self) -> str:
        """The server under test."""
        return str(self.summary.get("subject", "server"))

    @property
    def scenario(self) -> str:
        return str(self.summary.get("scenario", self.folder.name))

    def kinds(self) -> list[str]:
        """The kinds of objects whose changes reached somebody."""
        return sorted({self.changes[row.number].kind for row in self.rows})

    def of(self, kind: str) -> list[Latency]:
        return [row for row in self.rows if self.changes[row.number].kind == kind]

    def last(self) -> dict[int, Latency]:
        """By change, the row of the proxy that had it last."""
        found: dict[int, Latency] = {}
        for row in self.rows:
            if row.number not in found or seconds(row) > seconds(found[row.number]):
                found[row.number] = row
        return dict(sorted(found.items()))

    @property
    def fixed_wait(self) -> float:
        """Seconds that the server always waits before it looks at a file, as its subject says."""
        options = self.about.get("options")
        return float(options.get("fixed_wait") or 0.0) if isinstance(options, Mapping) else 0.0

    @property
    def start(self) -> float:
        """The monotonic second of the schedule's beginning."""
        return min((change.at - change.scheduled for change in self.changes.values()), default=0.0)


@dataclass(frozen=True, slots=True)
class Group:
    """Repeats of one thing."""

    label: str
    runs: tuple[Run, ...]

    def each(self, figure: str, key: str = "") -> list[float]:
        """One number of summary.json per repeat, for those repeats that have it."""
        found = (number(run.summary, figure, key) for run in self.runs)
        return [value for value in found if value is not None]


def read(folder: Path) -> Run:
    """A run folder; DatasetError names what is missing or cannot be understood."""
    changes = {one.number: one for one in dataset.read(folder / "changes.csv", Change)}
    rows = dataset.read(folder / "latency.csv", Latency)
    for row in rows:
        if row.number not in changes:
            raise DatasetError(f"{folder}/latency.csv: change {row.number} is not in changes.csv")
    samples = folder / "samples.csv"
    return Run(
        folder=folder,
        about=_json(folder / "run.json"),
        summary=_json(folder / "summary.json"),
        changes=changes,
        rows=[row for row in rows if counts(row)],
        samples=dataset.read(samples, Sample) if samples.exists() else (),
    )


def repeats(folder: Path) -> list[Run]:
    """The run in this folder, or those in folders below it."""
    if (folder / "latency.csv").exists():
        return [read(folder)]
    found = [read(one.parent) for one in sorted(folder.rglob("latency.csv"))]
    if not found:
        raise DatasetError(f"{folder}: there is no run: no latency.csv in it or below it")
    return found


def seconds(row: Latency) -> float:
    """From the change to its receipt."""
    if row.outside is None:
        raise ValueError(f"change {row.number} was not received by {row.proxy}")
    return row.outside


def stages(row: Latency) -> dict[str, float] | None:
    """Seconds of each stage; None where the server does not tell all of them.

    None, too, for a change that was replaced before it was sent: the stages are those of another one.
    """
    if row.has("coalesced") or row.has("superseded"):
        return None
    found: dict[str, float] = {}
    for stage in STAGES:
        begin = getattr(row, stage.begin) if stage.begin else 0.0
        end = getattr(row, stage.end)
        if begin is None or end is None:
            return None
        found[stage.name] = end - begin
    return found


def mean_stages(rows: Iterable[Latency]) -> dict[str, float]:
    """Mean seconds of each stage; empty when no row tells them.  Means, so that they add up."""
    told = [found for row in rows if (found := stages(row)) is not None]
    return {stage.name: sum(one[stage.name] for one in told) / len(told) for stage in STAGES} if told else {}


def number(summary: Mapping[str, Any], figure: str, key: str = "") -> float | None:
    """A figure of summary.json, or one entry of a figure that is a table."""
    value = summary.get(figure)
    if isinstance(value, Mapping):
        value = value.get(key or "p50")
    return float(value) if isinstance(value, int | float) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: is not an object")
    return value
