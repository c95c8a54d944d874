"""Latency and cost against a parameter that the runs differ in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from controlplane.lab.latency.dataset import DatasetError
from controlplane.lab.latency.statistics import interval, mean, quantile
from controlplane.lab.report.data import MS, Group, Run, number, seconds
from controlplane.lab.report.style import colors, figure
from controlplane.lab.report.words import FIGURES, with_unit

Point = tuple[float, tuple[Run, ...]]
Figure = Callable[[Run], float | None]
_WHERE = ("swept", "sizes", "options")


def value(run: Run, parameter: str) -> float:
    """What the parameter was in a run; DatasetError when the run does not say."""
    for place in (run.about, *(run.about.get(name) for name in _WHERE)):
        if isinstance(place, Mapping) and parameter in place:
            try:
                return float(place[parameter])
            except (TypeError, ValueError):
                said = place[parameter]
                raise DatasetError(f"{run.folder}/run.json: {parameter} is {said!r}, no number") from None
    raise DatasetError(f"{run.folder}/run.json does not say what {parameter} was")


def points(runs: Sequence[Run], parameter: str) -> list[Point]:
    """The repeats of each value, by value."""
    found: dict[float, list[Run]] = {}
    for run in runs:
        found.setdefault(value(run, parameter), []).append(run)
    return [(at, tuple(found[at])) for at in sorted(found)]


def draw(groups: Sequence[Group], parameter: str, path: Path) -> Path:
    """Three panels: latency, CPU and bytes per change; bands are intervals over repeats."""
    with figure(path, columns=3, size=(3.6, 3.2)) as axes:
        many = len(groups) > 1
        for group, color in zip(groups, colors(len(groups)), strict=True):
            known = points(group.runs, parameter)
            for share, style in ((0.5, "-"), (0.99, "--")):
                name = f"{group.label}, p{share * 100:.0f}" if many else f"p{share * 100:.0f}"
                _line(axes[0], known, lambda run, share=share: _latency(run, share), color, name, style)  # type: ignore[misc]
            _line(axes[1], known, lambda run: _cost(run, "cpu_seconds_per_change", MS), color, group.label)
            _line(axes[2], known, lambda run: _cost(run, "bytes_per_change", 1e-3), color, group.label)
        values = [at for group in groups for at, _ in points(group.runs, parameter)]
        for axis, label in zip(axes, ("ms to each proxy", "CPU ms per change", "kB per change"), strict=True):
            axis.set_xlabel(with_unit(parameter))
            axis.set_ylabel(label)
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
            if min(values) > 0 and max(values) >= 20 * min(values):
                axis.set_xscale("log")
                axis.set_xticks(sorted(set(values)), [f"{at:g}" for at in sorted(set(values))])
                axis.minorticks_off()
        axes[0].legend()
    return path


def _line(
    axis: Any, known: Sequence[Point], figure_of: Figure, color: str, label: str, style: str = "-"
) -> None:
    measured = [(at, [one for one in map(figure_of, runs) if one is not None]) for at, runs in known]
    measured = [(at, values) for at, values in measured if values]
    if not measured:
        return
    at = [one for one, _ in measured]
    axis.plot(
        at,
        [mean(values) for _, values in measured],
        style,
        marker="o",
        markersize=4,
        color=color,
        label=label,
    )
    ends = [interval(values) or (mean(values), mean(values)) for _, values in measured]
    axis.fill_between(
        at, [low for low, _ in ends], [high for _, high in ends], color=color, alpha=0.2, linewidth=0
    )


def _latency(run: Run, share: float) -> float | None:
    ordered = sorted(seconds(row) * MS for row in run.rows)
    return quantile(ordered, share) if ordered else None


def _cost(run: Run, figure_name: str, scale: float) -> float | None:
    assert figure_name in FIGURES
    found = number(run.summary, figure_name)
    return None if found is None else found * scale
