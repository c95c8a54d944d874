"""What `mini-istiod bench` prints: the figures of a series as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from controlplane.lab.churn.scenario import Scenario
from controlplane.lab.latency.summary import STAGES
from controlplane.lab.report.words import WIRE_NOTE, percent, sharpness

_SHARES = ("p50", "p90", "p99", "max")


def scenarios(known: Iterable[Scenario]) -> Table:
    """Names with one line each."""
    table = _table("scenario", "what happens", "size", right=0)
    for one in known:
        size = f"{one.mesh.services} x {one.mesh.endpoints} in {one.mesh.namespaces}"
        table.add_row(one.name, one.description, size)
    table.caption = "size: services x endpoints in namespaces"
    return table


def tables(summary: Mapping[str, Any]) -> Iterator[Table]:
    """Latency, stages, cost and, with several servers, ratios."""
    subjects: Mapping[str, Mapping[str, Any]] = summary["subjects"]
    many = len(subjects) > 1
    yield _latency(subjects, many)
    for name, one in subjects.items():
        if one["stages_ms"]:
            yield _stages(name, one)
    yield _cost(subjects)
    for name, ratios in summary.get("ratios", {}).items():
        yield _ratios(name, summary["against"], ratios)


def _latency(subjects: Mapping[str, Mapping[str, Any]], many: bool) -> Table:
    table = _table("ms, from the rename of the file", "n", *_SHARES, "95 % of p50", right=1)
    for name, one in subjects.items():
        before = f"{name}: " if many else ""
        rows = [
            ("to each proxy", one["latency_ms"]),
            ("to each proxy, from its scheduled time", one["from_schedule_ms"]),
            *((f"to each proxy, {kind}", some) for kind, some in one["by_kind_ms"].items()),
            ("to the last proxy", one["last_receipt_ms"]),
            ("to the last ACK", one["last_ack_ms"]),
        ]
        for title, some in rows:
            if some["n"]:
                ends = some.get("ci95")
                spread = f"{_short(ends[0])} to {_short(ends[1])}" if ends else ""
                table.add_row(
                    before + title, f"{some['n']:.0f}", *(_short(some[share]) for share in _SHARES), spread
                )
    return table


def _stages(name: str, one: Mapping[str, Any]) -> Table:
    table = _table(f"{name}: stages, ms", "mean", *_SHARES, right=1)
    for stage, _, _ in STAGES:
        some = one["stages_ms"].get(stage)
        if some:
            table.add_row(stage, _short(some["mean"]), *(_short(some[share]) for share in _SHARES))
    said = (WIRE_NOTE if "wire" in one["stages_ms"] else None, _agreement(one.get("agreement")))
    table.caption = "\n".join(filter(None, said)) or None
    return table


def _agreement(found: Mapping[str, Any] | None) -> str | None:
    if not found:
        return None
    rows = f"{found['rows']:.0f} (change, proxy)"
    orders = found["orders_broken"]
    if isinstance(found["holds"], bool) and found["holds"]:
        return (
            f"Stages and outside clock of {rows} agree: order exactly for all; sums within 1 ms for"
            f" {percent(found['within_allowed'])} with nothing granted, for all with the measured scheduling"
            f" error granted. {sharpness([found])}"
        ).rstrip()
    apart = f"{found['apart']:.0f} of {rows} further apart than 1 ms and the measured scheduling error"
    return f"stages and outside clock do NOT agree: {apart}; wrong orders: {orders or 'none'}"


def _cost(subjects: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("cost", *subjects, right=1)
    rows: tuple[tuple[str, Callable[[Mapping[str, Any]], float | None]], ...] = (
        ("CPU per change, ms", lambda one: one["cpu_seconds_per_change"] * 1000),
        ("responses per change", lambda one: one["pushes_per_change"]),
        ("bytes per change", lambda one: one["bytes_per_change"]),
        ("memory at the end, MB", lambda one: one["rss_mb"]),
        ("all warm at the start, ms", lambda one: one["warm_ms"].get("max")),
        ("loop lag max, ms", lambda one: one.get("lag_ms", {}).get("max")),
        ("GC pause max, ms", lambda one: one.get("gc_ms", {}).get("max")),
        ("schedule late p99, ms", lambda one: one["late_ms"].get("p99")),
        ("CPU of the server, %", lambda one: one["cpu_share"] * 100),
        ("CPU of the fleet, %", lambda one: one["fleet_cpu_share"] * 100),
    )
    for title, figure in rows:
        values = [figure(one) for one in subjects.values()]
        if any(value is not None for value in values):
            table.add_row(title, *(_short(value) for value in values))
    return table


def _ratios(name: str, against: str, ratios: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(f"{name} through {against}", "times", "95 % interval", "pairs", right=1)
    for title, one in ratios.items():
        ends = one["ci95"]
        spread = f"{_short(ends[0])} to {_short(ends[1])}" if ends else ""
        table.add_row(title, _short(one["ratio"]), spread, str(len(one["pairs"])))
    return table


def sweep(parameter: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """One row for each value and server."""
    table = _table(parameter, "server", *_SHARES, "last proxy p50", "CPU ms/change", "kB/change", right=2)
    for text, summary in found:
        for name, one in summary["subjects"].items():
            some = one["latency_ms"]
            figures = [some.get(share) for share in _SHARES]
            figures += [one["last_receipt_ms"].get("p50"), one["cpu_seconds_per_change"] * 1000]
            table.add_row(text, name, *map(_short, (*figures, one["bytes_per_change"] / 1000)))
    table.caption = "ms from the rename of the file to each proxy's receipt"
    return table


def _table(*head: str, right: int) -> Table:
    """Columns from number `right` on are numbers (0: none)."""
    table = Table(
        box=None,
        header_style="bold",
        title_justify="left",
        caption_justify="left",
        padding=(0, 2, 1, 0) if not right else (0, 2, 0, 0),
    )
    for at, title in enumerate(head):
        table.add_column(title, justify="right" if right and at >= right else "left")
    return table


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
