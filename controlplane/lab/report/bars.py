"""Where the time goes and what a change costs, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controlplane.lab.latency.dataset import Latency
from controlplane.lab.latency.statistics import interval, mean
from controlplane.lab.report.data import MS, Group, Run, mean_stages, seconds, stages
from controlplane.lab.report.style import GREY, SERIES, figure, row_height, short, wrapped
from controlplane.lab.report.words import FIGURES, STAGES

_BARS = 40
"""Changes that are drawn one by one; of more, every n-th."""


def waterfall(groups: Sequence[Group], path: Path) -> Path | None:
    """Where the time goes: mean of each stage, by kind of object and type of response."""
    bars: list[tuple[str, dict[str, float]]] = []
    for group in groups:
        named = f"{group.label}: " if len(groups) > 1 else ""
        rows = [row for run in group.runs for row in _by_way(run)]
        for way in sorted({way for way, _ in rows}):
            bars.append((named + way, mean_stages(row for other, row in rows if other == way)))  # noqa: PERF401
    if not bars:
        return None
    step = row_height([name for name, _ in bars], 0.42)
    with figure(path, size=(7.4, 1.3 + step * len(bars))) as (axis,):
        _stack(axis, bars)
        axis.set_xlabel("ms since the file was renamed (mean over changes and proxies)")
        axis.set_xlim(right=1.12 * max(sum(found.values()) for _, found in bars) * MS)
    return path


def changes(run: Run, path: Path) -> Path | None:
    """Each change's stages at the proxy that had it last, and when that one received it."""
    told = [(number, row, found) for number, row in run.last().items() if (found := stages(row))]
    if not told:
        return None
    step = -(-len(told) // _BARS)
    shown = told[::step]
    with figure(path, size=(7.4, 1.4 + 0.16 * len(shown))) as (axis,):
        _stack(axis, [(f"{number}", found) for number, _, found in shown], totals=False)
        received = [seconds(row) * MS for _, row, _ in shown]
        # White with a dark edge: seen on the bars, and in the legend on both kinds of page.
        marks = {"marker": "D", "markersize": 4, "markerfacecolor": "#ffffff", "markeredgecolor": "#101418"}
        axis.plot(received, range(len(shown)), linestyle="", label="received", **marks)
        _legend(axis)
        axis.tick_params(axis="y", labelsize=7)
        axis.set_ylabel("change" if step == 1 else f"change (one of {step})")
        axis.set_xlabel("ms since the file was renamed, at the proxy that had it last")
    return path


def costs(groups: Sequence[Group], path: Path) -> Path | None:
    """CPU, bytes, responses and memory beside each other; with intervals where there are repeats."""
    wanted = ("cpu_seconds_per_change", "bytes_per_change", "pushes_per_change", "rss_mb")
    found = [(key, [group.each(key) for group in groups]) for key in wanted]
    found = [(key, values) for key, values in found if any(values)]
    if not found:
        return None
    step = row_height([group.label for group in groups], 0.45)
    with figure(path, columns=len(found), size=(2.7, 0.9 + step * len(groups)), sharey=True) as axes:
        for axis, (key, values) in zip(axes, found, strict=True):
            name, unit, _ = FIGURES[key]
            scale, unit = _unit(max(max(each, default=0.0) for each in values), unit)
            for at, each in enumerate(values):
                if each:
                    _bar(axis, at, [value * scale for value in each], SERIES[at % len(SERIES)])
            axis.set_title(name)
            axis.set_xlabel(unit or "count")
            axis.set_yticks(range(len(groups)), [wrapped(group.label) for group in groups])
            # Room for the figures behind the bars.
            axis.set_xlim(0, 1.3 * scale * max(max(each, default=0.0) for each in values))
            axis.grid(visible=False, axis="y")
        axes[0].invert_yaxis()
    return path


def _by_way(run: Run) -> list[tuple[str, Latency]]:
    return [
        (f"{run.changes[row.number].kind} → {row.type.upper() or 'any type'}", row)
        for row in run.rows
        if stages(row) is not None
    ]


def _stack(axis: Any, bars: Sequence[tuple[str, dict[str, float]]], totals: bool = True) -> None:
    for at, (_, found) in enumerate(bars):
        left = 0.0
        for stage in STAGES:
            # The kernel's clock may stamp a file a moment too early.
            width = max(found[stage.name], 0.0) * MS
            label = stage.name if at == 0 else "_"
            axis.barh(at, width, left=left, height=0.72, color=stage.color, label=label, linewidth=0)
            left += width
        if totals:
            axis.annotate(
                f"{short(left)} ms", (left, at), xytext=(4, 0), textcoords="offset points", va="center"
            )
    axis.set_yticks(range(len(bars)), [wrapped(name) for name, _ in bars])
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    axis.set_xlim(left=0)
    if totals:
        _legend(axis)


def _legend(axis: Any) -> None:
    marks, names = axis.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda at: names[at] == "received")
    shown = [marks[at] for at in order], [names[at] for at in order]
    axis.legend(
        *shown, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=8, columnspacing=1.0, handlelength=1.0
    )


def _bar(axis: Any, at: int, repeats: Sequence[float], color: str) -> None:
    middle = mean(repeats)
    axis.barh(at, middle, height=0.6, color=color)
    ends = interval(repeats)
    right = middle
    if ends is not None:
        axis.plot(ends, (at, at), color=GREY, linewidth=2, solid_capstyle="butt")
        right = max(ends[1], middle)
    axis.annotate(short(middle), (right, at), xytext=(4, 0), textcoords="offset points", va="center")


def _unit(largest: float, unit: str) -> tuple[float, str]:
    """A scale and a unit in which the largest value has few digits."""
    if unit == "s" and largest < 1:
        return MS, "ms"
    if unit == "B" and largest >= 10_000:
        return (1e-6, "MB") if largest >= 1e7 else (1e-3, "kB")
    return 1.0, unit
