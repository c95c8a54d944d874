"""A run as it went: what was slow when, and what else happened then."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from controlplane.lab.latency.dataset import Latency
from controlplane.lab.report.data import MS, Run, seconds
from controlplane.lab.report.style import colors, figure


def timeline(run: Run, path: Path) -> Path | None:
    """The run as it went: latency of each change, the loop's lag, pauses, and the CPU of each process."""
    ends = run.last()
    if not ends:
        return None
    panels: list[tuple[str, Callable[[Any], None]]] = [
        ("latency, ms", lambda axis: _latencies(axis, run, ends))
    ]
    if any(one.lag is not None or one.gc is not None for one in run.samples):
        panels.append(("longest in the\ninterval, ms", lambda axis: _stalls(axis, run)))
    if len(run.samples) > 1:
        panels.append(("CPU, cores", lambda axis: _cpu(axis, run)))
    with figure(path, rows=len(panels), size=(7.4, 2.0), sharex=True) as axes:
        for axis, (label, draw) in zip(axes, panels, strict=True):
            draw(axis)
            axis.set_ylabel(label)
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[-1].set_xlabel("seconds since the schedule began")
    return path


def _latencies(axis: Any, run: Run, ends: dict[int, Latency]) -> None:
    kinds = run.kinds()
    for kind, color in zip(kinds, colors(len(kinds)), strict=True):
        mine = [row for number, row in ends.items() if run.changes[number].kind == kind]
        at = [run.changes[row.number].at - run.start for row in mine]
        values = [seconds(row) * MS for row in mine]
        axis.plot(at, values, ".", markersize=4, color=color, label=f"{kind},\nlast proxy")
    axis.set_ylim(bottom=0)


def _stalls(axis: Any, run: Run) -> None:
    found: list[tuple[str, list[tuple[float, float]]]] = []
    for process in _processes(run):
        mine = [one for one in run.samples if one.process == process]
        lags = [(one.at, one.lag) for one in mine if one.lag is not None]
        pauses = [(one.at, one.gc) for one in mine if one.gc is not None]
        found += [(f"{process},\nloop lag", lags), (f"{process},\nGC pause", pauses)]
    found = [(label, points) for label, points in found if points]
    for (label, points), color in zip(found, colors(len(found)), strict=True):
        longest: dict[float, float] = {}
        for at, value in points:
            place = _bin(run, at)
            longest[place] = max(value, longest.get(place, 0.0))
        axis.plot(
            list(longest), [value * MS for value in longest.values()], color=color, linewidth=1, label=label
        )
    axis.set_ylim(bottom=0)


def _cpu(axis: Any, run: Run) -> None:
    names = _processes(run)
    for name, color in zip(names, colors(len(names)), strict=True):
        # The last sample of each bin: the kernel counts in hundredths of a second.
        ends = {_bin(run, one.at): one for one in sorted(run.samples) if one.process == name}
        steps = list(pairwise(ends.values()))
        at = [b.at - run.start for _, b in steps]
        used = [(b.cpu - a.cpu) / (b.at - a.at) for a, b in steps]
        axis.plot(at, used, color=color, linewidth=1, label=name)
    axis.set_ylim(bottom=0)


def _bin(run: Run, at: float) -> float:
    """Where a sample is drawn: about a hundred places, none shorter than half a second."""
    times = run.samples[0].at, run.samples[-1].at
    width = max(0.5, (times[1] - times[0]) / 100)
    return round((at - run.start) / width) * width


def _processes(run: Run) -> list[str]:
    """The server first."""
    return sorted({one.process for one in run.samples}, key=lambda name: (name != "server", name))
