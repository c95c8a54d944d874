"""The push trace as JSON: what /debug/traces answers.

Every stage is told in seconds since the change's own source event, so that one object is read from
left to right.  Stages of the proxies (plan, write, ack) are those of the last proxy so far; how the
others fared is in `ack_seconds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from controlplane.telemetry.trace import Trace
from controlplane.telemetry.wave import Batch, Seen, Wave

COALESCED = 20
"""How many changes of the same batch a trace lists; `changes_in_batch` tells how many there were."""

_FILTERS = ("id", "kind", "namespace", "name")


def traces(trace: Trace, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """The kept traces, newest first, made one by one as they are taken.

    `query` may hold id, kind, namespace, name (all must match) and limit (a number); what else it
    holds is ignored.
    """
    query = query or {}
    wanted = {field: query[field] for field in _FILTERS if field in query}
    limit = query.get("limit", "")
    left = int(limit) if limit.isascii() and limit.isdigit() else trace.capacity
    pending = trace.pending()
    for seen, batch in trace.recent():
        if left <= 0:
            return
        if all(str(getattr(seen, field)) == text for field, text in wanted.items()):
            left -= 1
            yield report(seen, batch, trace.epoch, pending.get(batch.wave, ()) if batch.wave else ())


def report(seen: Seen, batch: Batch, epoch: float, pending: Sequence[str]) -> dict[str, Any]:
    """One change with everything known of it; numbers not reached yet are null."""
    wave = batch.wave or Wave(batch.revision, 0.0)
    return {
        "id": seen.id,
        "revision": batch.revision,
        "kind": seen.kind,
        "namespace": seen.namespace,
        "name": seen.name,
        "origin": seen.origin,
        "at": seen.at + epoch,
        "stages": _stages(seen, batch),
        "ack_seconds": _distribution(seen, wave),
        "proxies": {
            "touched": wave.touched,
            "untouched": wave.untouched,
            "acked": wave.acked,
            "waiting": wave.waiting,
            "gone": wave.gone,
            "pending": list(pending),
            "nacked": list(wave.nacked_by),
        },
        "complete": batch.wave is not None and wave.waiting == 0,
        "bytes": sum(totals.bytes for totals in wave.types.values()),
        "responses": sum(totals.responses for totals in wave.types.values()),
        "echoes": sum(totals.echoes for totals in wave.types.values()),
        "types": _types(seen, wave),
        "coalesced_with": _coalesced(seen, batch),
        "changes_in_batch": batch.count,
    }


def _stages(seen: Seen, batch: Batch) -> dict[str, float | None]:
    types = batch.wave.types.values() if batch.wave else ()
    # Without a time of its own a change entered the debouncer when its batch was opened, or later.
    received = seen.received if seen.received is not None else max(seen.at, batch.opened)
    times = {
        "source": seen.at,
        "debounce_in": received,
        "commit": batch.committed,
        "compute": batch.wave.settled if batch.wave else None,
        "plan": _last(totals.plan for totals in types),
        "write": _last(totals.write for totals in types),
        "ack": _last(totals.ack for totals in types),
    }
    return {stage: _since(seen.at, at) for stage, at in times.items()}


def _types(seen: Seen, wave: Wave) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "responses": totals.responses,
            "bytes": totals.bytes,
            "names": totals.names,
            "echoes": totals.echoes,
            "plan": _since(seen.at, totals.plan),
            "write": _since(seen.at, totals.write),
            "ack": _since(seen.at, totals.ack),
        }
        for name, totals in sorted(wave.types.items())
    }


def _distribution(seen: Seen, wave: Wave) -> dict[str, float] | None:
    """Source to ACK over the proxies that have ACKed: nearest-rank quantiles; null when none has."""
    if not wave.delays:
        return None
    delays = sorted(wave.delays)
    base = wave.settled - seen.at
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: _rounded(base + delays[ceil(share * len(delays)) - 1]) for name, share in quantiles.items()}


def _coalesced(seen: Seen, batch: Batch) -> list[int]:
    found: list[int] = []
    for other in batch.changes:
        if len(found) == COALESCED:
            break
        if other.id != seen.id:
            found.append(other.id)
    return found


def _last(times: Iterator[float | None]) -> float | None:
    return max((at for at in times if at is not None), default=None)


def _since(start: float, at: float | None) -> float | None:
    return None if at is None else _rounded(at - start)


def _rounded(seconds: float) -> float:
    # Microseconds: the clocks and the float32 delays tell no more.
    return round(seconds, 6)
