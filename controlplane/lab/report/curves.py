"""How latency is distributed, as curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any

from controlplane.lab.latency.dataset import Latency
from controlplane.lab.latency.statistics import quantile, thinned
from controlplane.lab.report.data import MS, Group, Run, seconds
from controlplane.lab.report.style import colors, cumulative, figure, log_ticks, row_height, short, wrapped

Curve = tuple[str, Sequence[Run], Callable[[Run], list[Latency]]]


def distributions(groups: Sequence[Group], path: Path) -> Path | None:
    """Latency as a cumulative distribution: of each proxy, and of the last proxy of each change."""
    curves = _curves(groups)
    if not curves:
        return None
    # Beside the axes each curve has its label and two lines of figures.
    high = 0.6 + sum(row_height([f"{label}\n\n"], 0.0) for label, _, _ in curves)
    with figure(path, 2, size=(4.6, max(3.4, high)), sharey=True, sharex=True) as (each, last):
        for (label, runs, rows), color in zip(curves, colors(len(curves)), strict=True):
            told = _curve(each, [[seconds(row) * MS for row in rows(run)] for run in runs], color)
            ends = _curve(last, [[seconds(row) * MS for row in _last(rows(run))] for run in runs], color)
            last.plot([], [], color=color, label=f"{wrapped(label)}\neach: {told}\nlast: {ends}")
        for axis, title in ((each, "each proxy has the change"), (last, "the last proxy has the change")):
            axis.set_title(title)
            axis.set_xscale("log")
            axis.set_xlabel("ms since the file was renamed (log)")
            axis.set_ylim(0, 1.02)
            axis.tick_params(labelleft=True)
        log_ticks(each)
        each.set_ylabel("share of (change, proxy)")
        last.set_ylabel("share of changes")
        last.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=1.2)
    return path


def _curves(groups: Sequence[Group]) -> list[Curve]:
    """One curve for each group; for a single group, one for each kind of object."""
    groups = [group for group in groups if any(run.rows for run in group.runs)]
    if len(groups) > 1:
        return [(group.label, group.runs, lambda run: list(run.rows)) for group in groups]
    return [
        (kind, group.runs, methodcaller("of", kind))
        for group in groups
        for kind in sorted({kind for run in group.runs for kind in run.kinds()})
    ]


def _curve(axis: Any, repeats: list[list[float]], color: str) -> str:
    pooled = sorted(value for values in repeats for value in values)
    if not pooled:
        return "none"
    if len(repeats) > 1:
        for values in repeats:
            cumulative(axis, thinned(values, 150), color, "", alpha=0.3, linewidth=0.7)
    cumulative(axis, thinned(pooled), color, "")
    return f"p50 {short(quantile(pooled, 0.5))}, p99 {short(quantile(pooled, 0.99))} ms"


def _last(rows: Iterable[Latency]) -> list[Latency]:
    found: dict[int, Latency] = {}
    for row in rows:
        if row.number not in found or seconds(row) > seconds(found[row.number]):
            found[row.number] = row
    return list(found.values())
