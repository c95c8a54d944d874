"""The page of a run with real Envoys: how far apart sending, accepting, being warm and being felt are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from controlplane.lab.effective_rows import SPANS, Effective
from controlplane.lab.report import page
from controlplane.lab.report.style import colors, cumulative, figure

_MOMENTS = ("written", "acked", "warm", "effective")
_COLUMNS = ("n", "min", "p50", "p90", "p99", "max", "mean")
_MS = 1000


def draw(rows: Sequence[Effective], path: Path) -> Path:
    """For each kind of change the distributions of the moments, in ms since the server's commit."""
    kinds = sorted({row.kind for row in rows})
    with figure(path, columns=len(kinds), sharey=True, sharex=True) as axes:
        for axis, kind in zip(axes, kinds, strict=True):
            for moment, color in zip(_MOMENTS, colors(len(_MOMENTS)), strict=True):
                values = sorted(_since_commit([row for row in rows if row.kind == kind], moment))
                if values:
                    cumulative(axis, values, color, moment)
            axis.set_title(kind)
            axis.set_xlabel("ms since the commit")
            axis.set_ylim(0, 1.02)
        axes[0].set_ylabel("share of (change, Envoy)")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def write(
    folder: Path, rows: Sequence[Effective], summary: Mapping[str, Any], about: Mapping[str, Any]
) -> Path:
    """report.html in the run's folder, and its picture beside it.  PlotError without matplotlib."""
    drawn = draw(rows, folder / "effective.svg")
    target = folder / "report.html"
    target.write_text(page.page("When changes can be felt", _parts(drawn, summary, about)), encoding="utf-8")
    return target


def _parts(drawn: Path, summary: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    resolution = summary["resolution_ms"]
    yield page.heading("When changes can be felt at real Envoys", 1)
    yield page.paragraph(
        f"{summary['changes']} changes at {summary['proxies']} Envoys, {summary['requests']} requests; "
        f"{summary['failed']} of them failed, {summary['returned']} met the old state after the new one. "
        f"When a change took effect is known to within {resolution['p50']:.1f} ms (median), "
        f"{resolution['max']:.1f} ms at worst: the curve of `effective` is the end of that interval.",
        "lead",
    )
    yield page.code(" ".join(about["command"]))
    yield page.picture(
        drawn,
        "effective",
        "From the server's commit: when the first response was written, the last one acknowledged, the "
        "Envoy warm by its own statistics (whole milliseconds), and the change felt by a request.",
    )
    for kind, spans in summary["spans_ms"].items():
        cells = ([name.replace("_", " "), *(spans[name].get(key) for key in _COLUMNS)] for name in SPANS)
        yield page.table(f"{kind}, in milliseconds", ("from, to", *_COLUMNS), cells)
    yield page.folded("Setup and machine", page.facts({**about, "CPU seconds": summary["cpu_seconds"]}))


def _since_commit(rows: Sequence[Effective], moment: str) -> Iterator[float]:
    for row in rows:
        at = getattr(row, moment)
        if at is not None and row.commit is not None:
            yield (at - row.commit) * _MS
