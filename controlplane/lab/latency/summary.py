"""What is said about a run, and about its repeats: summary.json.

A latency belongs to a (change, proxy) that is touched and had the change over a stream that was open when
it was made.  It is given from the rename, and once more from the moment for which the rename was
scheduled: a harness that comes late hides what a server that is behind does to those who wait.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.lab.latency.dataset import Change, Latency, Receipt, Sample
from controlplane.lab.latency.pushlog import PushLog
from controlplane.lab.latency.statistics import Summary, distribution, interval, mean

STAGES = (
    ("watch", "", "source"),
    ("notice", "source", "debounce_in"),
    ("debounce", "debounce_in", "commit"),
    ("compute", "commit", "compute"),
    ("plan", "compute", "plan"),
    ("write", "plan", "write"),
    ("wire", "write", "outside"),
    ("ack", "write", "ack"),
)
"""Name, begin, end; "" is the rename.  `wire` is negative where the server noted its write late."""

_MB = 1e6


@dataclass(frozen=True, slots=True)
class Material:
    """All that a run wrote down.  `begin` and `end` are the monotonic seconds of the measured part."""

    rows: Sequence[Latency]
    changes: Mapping[int, Change]
    receipts: Sequence[Receipt]
    samples: Sequence[Sample]
    log: PushLog | None
    start: float
    begin: float
    end: float


def counts(row: Latency) -> bool:
    """Whether the row has a latency."""
    return row.touched and row.outside is not None and row.status != "absent" and not row.has("reconnected")


def summarise(material: Material) -> dict[str, Any]:
    """The figures of one run; latencies in milliseconds."""
    rows = [row for row in material.rows if counts(row)]
    number = len(material.changes) or 1
    receipts = [one for one in material.receipts if material.begin <= one.at <= material.end]
    late = {n: change.at - material.start - change.scheduled for n, change in material.changes.items()}
    return {
        "changes": len(material.changes),
        "pairs": len(rows),
        "latency_ms": _outside(rows),
        "from_schedule_ms": distribution(((row.outside or 0.0) + late[row.number] for row in rows), 1000),
        "late_ms": distribution(late.values(), 1000),
        "last_receipt_ms": distribution(_last(rows, "outside"), 1000),
        "last_ack_ms": distribution(_last(rows, "ack"), 1000),
        "by_kind_ms": _by_kind(rows, material.changes),
        "stages_ms": _stages(rows),
        "statuses": dict(sorted(Counter(row.status for row in material.rows).items())),
        "notes": dict(sorted(Counter(word for row in rows for word in row.note.split()).items())),
        "bytes_per_change": sum(one.bytes for one in receipts) / number,
        "pushes_per_change": len(receipts) / number,
        "bytes_by_type": _bytes(receipts),
        **_server(material, number),
    }


def _outside(rows: Iterable[Latency]) -> Summary:
    return distribution((row.outside for row in rows if row.outside is not None), 1000)


def _last(rows: Iterable[Latency], column: str) -> list[float]:
    """By change, when the last proxy had it."""
    found: dict[int, float] = {}
    for row in rows:
        value = getattr(row, column)
        if value is not None:
            found[row.number] = max(value, found.get(row.number, value))
    return list(found.values())


def _by_kind(rows: Iterable[Latency], changes: Mapping[int, Change]) -> dict[str, Summary]:
    kinds: dict[str, list[Latency]] = defaultdict(list)
    for row in rows:
        kinds[changes[row.number].kind].append(row)
    return {kind: _outside(some) for kind, some in sorted(kinds.items())}


def _stages(rows: Iterable[Latency]) -> dict[str, Summary]:
    """Of changes that went their own way: the stages of one that was replaced belong to another."""
    own = [row for row in rows if not row.has("coalesced") and not row.has("superseded")]
    found = {}
    for name, begin, end in STAGES:
        spans = []
        for row in own:
            first, then = getattr(row, begin) if begin else 0.0, getattr(row, end)
            if first is not None and then is not None:
                spans.append(then - first)
        if spans:
            found[name] = distribution(spans, 1000)
    return found


def _bytes(receipts: Iterable[Receipt]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in receipts:
        totals = found.setdefault(one.type, {"responses": 0, "bytes": 0})
        totals["responses"] += 1
        totals["bytes"] += one.bytes
    return dict(sorted(found.items()))


def _server(material: Material, number: int) -> dict[str, Any]:
    """What it cost, from the kernel's account; what only its own log tells is left out without one."""
    cpu = _spent(material, "server")
    rss = [one.rss / _MB for one in material.samples if one.process == "server"]
    found: dict[str, Any] = {
        "cpu_seconds_per_change": cpu / number,
        "cpu_share": cpu / (material.end - material.begin) if material.end > material.begin else 0.0,
        "fleet_cpu_share": _spent(material, "fleet") / max(material.end - material.begin, 1e-9),
        "rss_mb": rss[-1] if rss else 0.0,
        "rss_peak_mb": max(rss, default=0.0),
    }
    log = material.log
    if log is None:
        return found
    pauses = [one for one in log.pauses if material.begin <= one.at <= material.end]
    pushed = [one for one in log.responses if material.begin <= one.planned <= material.end]
    return {
        **found,
        "echoes": sum(one.echoes for one in pushed),
        "nacks": sum(one.ok is False for one in pushed),
        "lag_ms": distribution((one.seconds for one in pauses if one.generation is None), 1000),
        "gc_ms": distribution((one.seconds for one in pauses if one.generation is not None), 1000),
    }


def _spent(material: Material, process: str) -> float:
    inside = [
        one.cpu
        for one in material.samples
        if one.process == process and material.begin <= one.at <= material.end
    ]
    return inside[-1] - inside[0] if inside else 0.0


def pooled(repeats: Sequence[Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """The summary of several repeats: the mean of each figure, with its interval where one can be given.

    Distributions become means of quantiles, with `ci95` (of the median), `ci95_p90` and `ci95_p99`.
    """
    return {
        key: _pool([repeat[key] for repeat in repeats], seed)
        for key in repeats[0]
        if all(key in repeat for repeat in repeats)
    }


def _pool(values: Sequence[Any], seed: int) -> Any:
    first = values[0]
    if isinstance(first, bool) or not isinstance(first, int | float | Mapping):
        return first if all(value == first for value in values) else list(values)
    if not isinstance(first, Mapping):
        return mean([float(value) for value in values])
    keys = sorted(
        {key for value in values for key in value},
        key=lambda key: list(first).index(key) if key in first else 99,
    )
    found = {key: _pool([value[key] for value in values if key in value], seed) for key in keys}
    if "p50" in first and all("p50" in value for value in values):
        for share, name in (("p50", "ci95"), ("p90", "ci95_p90"), ("p99", "ci95_p99")):
            ends = interval([float(value[share]) for value in values], seed=seed)
            found[name] = list(ends) if ends else None
    return found
