"""The page of a comparison: curves of every server beside each other, the table, how to make it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import side_table
from bench.side_table import Result
from controlplane.lab.latency.statistics import thinned
from controlplane.lab.report import page
from controlplane.lab.report.style import colors, cumulative, figure, log_ticks

Pick = Callable[[Result], list[float]]
_PICTURES: tuple[tuple[str, str, Pick], ...] = (
    (
        "a VirtualService changes",
        "ms until each proxy's ACK, debounce included",
        lambda run: _each(run, "VirtualService"),
    ),
    (
        "an endpoint changes",
        "ms until each proxy's ACK, debounce included",
        lambda run: _each(run, "endpoints"),
    ),
    ("restart", "ms from process start until each proxy is warm", lambda run: _restart(run)),
    ("Airbnb's scenario", "ms until each proxy has a change", lambda run: _airbnb(run)),
)


def write(report: Mapping[str, Any], folder: Path) -> Path:
    """Draw the plots and write index.html into `folder`."""
    path = folder / "index.html"
    path.write_text(page.page("Side by side", _parts(report, folder)), encoding="utf-8")
    return path


def _parts(report: Mapping[str, Any], folder: Path) -> Iterator[str]:
    yield page.heading("Control planes side by side", 1)
    yield page.paragraph(
        "One machine, in turns; the same objects, the same proxies, the same changes. Ratios are the other"
        " server's figure through ours, by pairs of neighbouring runs; above 1 we are faster or smaller.",
        "lead",
    )
    for program, reason in report["missing"].items():
        yield page.paragraph(f"{program} could not be built and is missing: {reason}")
    for failure in report["failures"]:
        yield page.paragraph(f"Failed: {failure}")
    for setting, results in report["results"].items():
        yield page.heading(f"Setting: {setting}")
        yield page.facts(report["settings"][setting])
        drawn = curves(results, folder / f"curves-{setting}.svg")
        if drawn is not None:
            yield page.picture(drawn, f"curves-{setting}", "Every latency of every repeat; logarithmic.")
        head, *rows = side_table.cells(results, report["full"])
        yield page.table("Medians over repeats, and ratios", head, rows)
    yield page.heading("Make it again")
    yield page.code(report["command"])
    yield page.facts({"machine": report["machine"], "size": report["size"]})


def curves(results: Mapping[str, Sequence[Result]], path: Path) -> Path | None:
    """Four distributions, one curve for each server; None when nothing was measured."""
    names = [name for name, runs in results.items() if runs]
    if not names:
        return None
    with figure(path, columns=2, rows=2) as axes:
        for axis, (title, label, pick) in zip(axes, _PICTURES, strict=True):
            for name, color in zip(names, colors(len(names)), strict=True):
                values = sorted(value * 1000 for run in results[name] for value in pick(run))
                if values:
                    cumulative(axis, thinned(values), color, name)
            axis.set_title(title)
            axis.set_xlabel(label)
            axis.set_xscale("log")
            axis.set_ylim(0, 1.02)
            log_ticks(axis)
        axes[0].legend(loc="upper left")
    return path


def _each(run: Result, kind: str) -> list[float]:
    return [value for change in run[kind]["latencies"] for value in change]


def _restart(run: Result) -> list[float]:
    found = run["restart"]
    return [] if found is None else [found["ready"] + value for value in found["warm"]]


def _airbnb(run: Result) -> list[float]:
    return list(run["airbnb"]["latencies"]) if "airbnb" in run else []
