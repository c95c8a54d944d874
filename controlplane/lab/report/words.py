"""What a report's words mean: stages, columns and figures, each in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """The way from one moment of a change at a proxy to the next; both are columns of latency.csv."""

    name: str
    begin: str
    end: str
    color: str
    meaning: str


STAGES: tuple[Stage, ...] = (
    Stage("watch", "", "source", "#6b7c8f", "from the rename that publishes the file to its time of change"),
    Stage(
        "notice",
        "source",
        "debounce_in",
        "#3aa5a5",
        "until the object is read, parsed and found to be different",
    ),
    Stage("debounce", "debounce_in", "commit", "#c9a227", "waiting for quiet, so that one push serves many"),
    Stage("compute", "commit", "compute", "#3a9d5d", "until all bytes that the change touches are made anew"),
    Stage("plan", "compute", "plan", "#9a6fd0", "until this proxy's turn comes and its response is decided"),
    Stage("write", "plan", "write", "#2f7fd1", "until the server notes that the response was sent"),
    Stage("ack", "write", "ack", "#e07b39", "until the proxy's answer has come back and was read"),
)

WIRE = Stage("wire", "write", "outside", "", "from that note until the proxy had the response")
"""Overlaps with the way of the answer, so it is told beside the stages that add up."""
WIRE_NOTE = (
    "The server notes a write when its turn comes; a negative wire means that the proxy had the response"
    " before that note."
)

OUTSIDE = "from the rename of the file to the moment when the proxy has received the response"

FIGURES = {
    "bytes_per_change": ("bytes per change", "B", "sent to all proxies together"),
    "pushes_per_change": ("responses per change", "", "sent to all proxies together"),
    "echoes": ("echoes", "", "resources that did not change, sent because Envoy waits for them"),
    "cpu_seconds_per_change": ("CPU per change", "s", "of the server, user and system"),
    "rss_mb": ("memory", "MB", "resident set of the server at its largest"),
    "lag_ms": ("loop lag", "ms", "by which the server's event loop was late"),
    "gc_ms": ("GC pauses", "ms", "in which the server's garbage collector ran"),
}
"""Figures of summary.json: name, unit, meaning."""

UNITS = {
    "debounce_after": "s",
    "debounce_max": "s",
    "throttle": "streams at once",
    "proxies": "",
    "services": "",
    "endpoints": "per service",
    "namespaces": "",
    "churn": "changes a second",
    "seconds": "s",
}
"""Of the parameters that runs are swept over; those that are not here are counts or have none."""


def with_unit(parameter: str) -> str:
    """A parameter's name, and its unit if it has one."""
    unit = UNITS.get(parameter, "")
    return f"{parameter}, {unit}" if unit else parameter


def percent(part: float) -> str:
    """A share in percent, rounded down: only what is all is 100 %."""
    return f"{math.floor(part * 1000 + 1e-6) / 10:.3g} %"


def sharpness(agreements: Sequence[Mapping[str, Any]]) -> str:
    """What agreements (of summary.json, one per repeat) would have noticed, in a sentence; "" if not told."""
    late, early = (_noticed(agreements, key) for key in ("+5 ms", "-5 ms"))
    if late is None or early is None:
        return ""
    return (
        f"Plan and write told 5 ms too late would show in {percent(late)} of the rows,"
        f" 5 ms too early in {percent(early)}."
    )


def _noticed(agreements: Sequence[Mapping[str, Any]], key: str) -> float | None:
    told = [(each.get("rows", 0), each.get("would_notice", {}).get(key)) for each in agreements]
    known = [(rows, part) for rows, part in told if rows and isinstance(part, int | float)]
    return sum(rows * part for rows, part in known) / sum(rows for rows, _ in known) if known else None
