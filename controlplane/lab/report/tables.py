"""The tables of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from controlplane.lab.latency.dataset import Latency
from controlplane.lab.latency.statistics import distribution, interval, quantile, ratio
from controlplane.lab.report import page
from controlplane.lab.report.data import MS, Group, Run, number, seconds, stages
from controlplane.lab.report.style import short
from controlplane.lab.report.words import FIGURES, STAGES, WIRE, WIRE_NOTE, percent, sharpness

COLUMNS = ("n", "p50", "p90", "p99", "max", "mean")
_COSTS = ("cpu_seconds_per_change", "bytes_per_change", "pushes_per_change", "rss_mb")


def figures(rows: Sequence[Latency]) -> tuple[object, ...]:
    found = distribution((seconds(row) for row in rows), MS)
    return tuple(found.get(name) for name in COLUMNS)


def latencies(groups: Sequence[Group]) -> Iterator[tuple[object, ...]]:
    for one in groups:
        named = f"{one.label}, " if len(groups) > 1 else ""
        yield f"{named}each proxy", *figures([row for run in one.runs for row in run.rows])
        last = [row for run in one.runs for row in run.last().values()]
        yield f"{named}last proxy of a change", *figures(last)
        for kind in sorted({kind for run in one.runs for kind in run.kinds()}):
            yield f"{named}{kind}, each proxy", *figures([row for run in one.runs for row in run.of(kind)])


def ratios(groups: Sequence[Group]) -> str:
    """The figures of the others through the first one's, repeat by repeat."""
    ours, *others = groups
    rows = []
    waits = any(run.fixed_wait for one in groups for run in one.runs)
    for name, figure in _compared(waits):
        for other in others:
            # Repeat n of both ran beside each other.
            pairs = [(figure(b), figure(a)) for a, b in zip(ours.runs, other.runs, strict=False)]
            known = [(a, b) for a, b in pairs if a is not None and b is not None and min(a, b) > 0]
            if known:
                found = ratio([a for a, _ in known], [b for _, b in known])
                ends = found["ci95"]
                shown = f"{short(ends[0])} to {short(ends[1])}" if isinstance(ends, list) else "one pair"
                rows.append((f"{name}: {other.label} / {ours.label}", found["ratio"], shown, len(known)))
    caption = "How many times as much the other one takes: geometric means over pairs of repeats"
    return page.table(caption, ("figure", "ratio", "95 % interval", "pairs"), rows)


def _compared(waits: bool) -> Iterator[tuple[str, Callable[[Run], float | None]]]:
    for share in (0.5, 0.9, 0.99):
        name = f"each proxy, p{share * 100:.0f}"
        yield name, lambda run, share=share: _share(run.rows, share)  # type: ignore[misc]
        if waits:
            less = f"{name}, without fixed waits"
            yield less, lambda run, share=share: _share(run.rows, share, run.fixed_wait)  # type: ignore[misc]
    yield "last proxy, p50", lambda run: _share(list(run.last().values()), 0.5)
    for key in _COSTS:
        yield FIGURES[key][0], lambda run, key=key: number(run.summary, key)  # type: ignore[misc]


def _share(rows: Sequence[Latency], share: float, less: float = 0.0) -> float | None:
    ordered = sorted(seconds(row) for row in rows)
    return quantile(ordered, share) - less if ordered else None


def stage_tables(groups: Sequence[Group]) -> Iterator[str]:
    yield page.heading("Stages")
    for one in groups:
        told = [
            found | {WIRE.name: seconds(row) - row.write}
            for run in one.runs
            for row in run.rows
            if (found := stages(row)) is not None and row.write is not None
        ]
        if not told:
            yield page.paragraph(f"{one.label} does not tell its stages: what is known is seen from outside.")
            continue
        rows = []
        for stage in (*STAGES, WIRE):
            found = distribution((one_row[stage.name] for one_row in told), MS)
            rows.append((stage.name, *(found[name] for name in COLUMNS[1:]), stage.meaning))
        head = ("stage", *COLUMNS[1:], "what it is")
        yield page.table(f"{one.label}: ms of each stage, over {len(told)} (change, proxy)", head, rows)
        yield page.paragraph(WIRE_NOTE)
        yield from _agreement(one)


def _agreement(one: Group) -> Iterator[str]:
    """Whether the server's clock and the one outside tell the same, in a sentence."""
    found = [run.summary["agreement"] for run in one.runs if _is_table(run.summary, "agreement")]
    rows = sum(each.get("rows", 0) for each in found)
    if not rows:
        return
    apart = sum(each.get("apart", 0) for each in found)
    close = sum(each.get("rows", 0) * each.get("within_allowed", 0.0) for each in found) / rows
    verdict = "agree" if all(each.get("holds") for each in found) else "do not agree everywhere"
    allowed = short(float(found[0].get("allowed_ms", 0.0)))
    yield page.paragraph(
        f"The server's stages and the clock outside {verdict}: of {rows} (change, proxy), {percent(close)} "
        f"differ by at most {allowed} ms with nothing granted, and {apart} by more than that and the "
        f"measured scheduling error. {sharpness(found)}".rstrip()
    )


def costs(groups: Sequence[Group]) -> Iterator[str]:
    rows = []
    for key, (name, unit, meaning) in FIGURES.items():
        several = any(_is_table(run.summary, key) for one in groups for run in one.runs)
        for entry in ("p50", "p99", "max") if several else ("",):
            cells = [_with_interval(one.each(key, entry)) for one in groups]
            if any(cells):
                label = " ".join(filter(None, (name, entry))) + (f", {unit}" if unit else "")
                rows.append((label, *cells, meaning))
    if rows:
        yield page.heading("What it cost")
        head = ("figure", *(one.label for one in groups), "what it is")
        yield page.table("Means over repeats, with 95 % intervals", head, rows)


def _with_interval(values: Sequence[float]) -> str:
    if not values:
        return ""
    ends = interval(values)
    middle = short(sum(values) / len(values))
    return f"{middle} ({short(ends[0])} to {short(ends[1])})" if ends else middle


def _is_table(summary: Mapping[str, Any], key: str) -> bool:
    return isinstance(summary.get(key), Mapping)
