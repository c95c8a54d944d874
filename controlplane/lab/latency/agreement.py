"""Whether the server's account of a run agrees with the clock outside of it.

Two kinds of statement are checked, for every change and proxy of which both sides tell:

*Order.*  All stamps are of one monotonic clock, so what causes something is stamped before it, exactly:
rename, source event, debounce in, commit, compute, plan, receipt, the proxy's answer, the ACK taken in.  The
one exception is the source event: it is the time that the kernel gave the file, by a clock of its own.  That
time is read for every change outside the server as well, and has to be the same.

*Sum.*  The server's stages from its source event to its write, against the time from the rename to the
receipt outside.  They may differ by `ALLOWED` and by what is known about the stamps, row by row:

- the file's time of change and the moment before its rename are of two clocks: their difference is read;
- the server notes a write when its writer gets its next turn.  A receipt before that note proves that the
  response had left: the note was late, by that much at least.  Such rows are counted and their lateness is
  reported.  What remains provable is exact: no receipt before the plan;
- the fleet notes a receipt when its turn comes: late by as long as it had been busy, or as it or the
  threads of the server that feed the sockets had been waiting for a core.

For deletions, and for changes that the server never saw by themselves, the file has no time of change.
Both clocks start at the server's source event then; those rows are counted as `limited`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controlplane.lab.latency.dataset import Change, Latency
from controlplane.lab.latency.lateness import Stretches, Waiting
from controlplane.lab.latency.statistics import distribution

ALLOWED = 0.001
"""Seconds that server and outside may differ by without any reason given."""
NAMED = 20
"""How many rows that do not agree are listed."""

_ORDER = (
    ("source", "debounce_in"),
    ("debounce_in", "commit"),
    ("commit", "compute"),
    ("compute", "plan"),
    ("plan", "write"),
    ("plan", "outside"),
    ("outside", "answered"),
    ("answered", "ack"),
    ("outside", "ack"),
)


SAME = 0.0002
"""Seconds by which two readings of one file time may differ: two clocks are not read at once."""
UNKNOWN = 0.011
"""Seconds by which a file time may be wrong that nobody has read: a tick of a slow timer."""


class Errors(NamedTuple):
    """When the fleet was busy, and how long both sides waited for a core."""

    busy: Stretches
    fleet: Waiting
    server: Waiting


@dataclass(slots=True)
class Agreement:
    """The findings; times in seconds.  A run agrees when `broken` and `apart` are empty."""

    rows: int = 0
    limited: int = 0
    incomplete: int = 0
    close: int = 0
    """Rows that differ by `ALLOWED` at most, with no error granted."""
    broken: Counter[str] = field(default_factory=Counter)
    """Violated orders, by the two stages."""
    apart: int = 0
    """Rows that differ by more than `ALLOWED` and their error."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    late_writes: list[float] = field(default_factory=list)
    """By how much at least the server noted its writes late, of those rows in which it did."""

    @property
    def holds(self) -> bool:
        """Whether every row agrees."""
        return not self.broken and not self.apart

    def as_json(self) -> dict[str, Any]:
        """For summary.json; times in milliseconds."""
        rows = self.rows or 1
        return {
            "holds": self.holds,
            "rows": self.rows,
            "limited": self.limited,
            "incomplete": self.incomplete,
            "allowed_ms": ALLOWED * 1000,
            "within_allowed": self.close / rows,
            "within_allowed_and_error": 1 - self.apart / rows,
            "apart": self.apart,
            "orders_broken": dict(sorted(self.broken.items())),
            "difference_ms": distribution(self.differences, 1000),
            "error_ms": distribution(self.errors, 1000),
            "late_writes_ms": distribution(self.late_writes, 1000),
            "examples": self.examples,
        }


def agree(
    rows: Iterable[Latency], changes: Mapping[int, Change], errors: Errors
) -> tuple[list[Latency], Agreement]:
    """Check all rows; those that could be compared come back with `agree` and `error` filled in."""
    found = Agreement()
    checked = [_check(row, changes[row.number], errors, found) for row in rows]
    return checked, found


def noticed(
    rows: Iterable[Latency], changes: Mapping[int, Change], errors: Errors, seconds: float
) -> float | None:
    """The share of rows that would not agree if the server told plans and writes by so much too late.

    That is how sharp the check is on this run: errors that are granted hide others.  None without rows.
    """
    moved = (
        row._replace(plan=row.plan + seconds, write=row.write + seconds)
        for row in rows
        if row.plan is not None and row.write is not None
    )
    found = Agreement()
    wrong = 0
    for row in moved:
        before = found.apart, found.broken.total()
        _check(row, changes[row.number], errors, found)
        wrong += before != (found.apart, found.broken.total())
    return wrong / found.rows if found.rows else None


def _check(row: Latency, change: Change, errors: Errors, found: Agreement) -> Latency:
    if row.status == "absent" or not row.touched or row.outside is None:
        return row
    if row.source is None or row.write is None or row.plan is None:
        found.incomplete += 1
        return row
    limited = change.action == "delete" or row.has("superseded")
    begin = row.source if limited else 0.0
    difference = (row.outside - begin) - (row.write - row.source)
    file_error = UNKNOWN if change.stamped is None else abs(change.stamped) + SAME
    late_write = max(0.0, row.write - row.outside)
    error = late_write or _late_receipt(row.outside + change.at, difference, errors)
    error += 0.0 if limited else file_error
    if late_write:
        found.late_writes.append(late_write)
    checked = row._replace(agree=difference, error=error)
    found.rows += 1
    found.limited += limited
    found.differences.append(difference)
    found.errors.append(error)
    found.close += abs(difference) <= ALLOWED
    wrong = broken_orders(row, None if limited else change.stamped)
    found.broken.update(wrong)
    apart = abs(difference) > ALLOWED + error
    found.apart += apart
    if (apart or wrong) and len(found.examples) < NAMED:
        found.examples.append({**checked._asdict(), "orders": wrong})
    return checked


def broken_orders(row: Latency, stamped: float | None = None) -> Sequence[str]:
    """The pairs of stages that stand in the wrong order; stages that are not known are left out.

    `stamped` is the file's time of change where that is what the source event has to be.
    """
    wrong = []
    if row.source is not None and stamped is not None and abs(row.source - stamped) > SAME:
        wrong.append("file time, source")
    if row.source is not None and stamped is None and row.source < -UNKNOWN:
        wrong.append("rename, source")
    if row.has("early"):
        wrong.append("revision, plan")
    for before, after in _ORDER:
        first, then = getattr(row, before), getattr(row, after)
        # Differences of moments, rounded to nanoseconds when they are written.
        if first is not None and then is not None and first > then + 2e-9:
            wrong.append(f"{before}, {after}")
    return wrong


def _late_receipt(receipt: float, difference: float, errors: Errors) -> float:
    """By how much the receipt may have been noted late."""
    since = receipt - max(0.0, difference)
    waited = errors.fleet.between(since, receipt) + errors.server.between(since, receipt)
    return errors.busy.late(receipt) + waited
