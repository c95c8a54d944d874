"""From requests, the server's log and Envoy's own statistics to one row per change and proxy.  Pure.

A change is *effective* at a proxy with the first request that shows it, of those after which none
shows the old state any more.  That request was routed after the last old one was sent and before its own
answer was here; so the moment lies in an interval whose end is `effective` and whose length is
`resolution`: about the time between two requests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from controlplane.lab.effective_probe import Sample
from controlplane.lab.latency.pushlog import PushLog, Response, proxy_of
from controlplane.lab.latency.statistics import Summary, distribution


class Effective(NamedTuple):
    """effective.csv: one change at one proxy.

    `at` is the monotonic second just before the rename; all other times are seconds since then.
    `written`: the first response with the change was handed to the transport; `acked`: the last of them
    was accepted; `warm`: the last of Envoy's subscriptions had taken its part in and nothing was warming
    (whole milliseconds, rounded down).  `failed` requests were answered by neither state, `returned` counts
    old answers after new ones.
    """

    number: int
    proxy: str
    kind: str
    at: float
    source: float | None = None
    commit: float | None = None
    planned: float | None = None
    written: float | None = None
    acked: float | None = None
    warm: float | None = None
    effective: float | None = None
    resolution: float | None = None
    requests: int = 0
    failed: int = 0
    returned: int = 0


class Told(NamedTuple):
    """What the requests through one proxy told of one change; times are absolute."""

    effective: float | None
    resolution: float | None
    requests: int
    failed: int
    returned: int


class Window(NamedTuple):
    """A change and the time in which everything that is sent is because of it."""

    number: int
    kind: str
    at: float
    until: float


def told(samples: Iterable[Sample], number: int, kind: str) -> Told:
    """When a change took effect, from all requests of one proxy around it."""
    ordered = sorted(samples, key=lambda sample: sample.received)
    states = [_state(sample, number, kind) for sample in ordered]
    failed, returned, seen = states.count(None), 0, False
    for state in states:
        returned += seen and state is False
        seen = seen or state is True
    old = [at for at, state in enumerate(states) if state is False]
    after = old[-1] + 1 if old else 0
    first = next((at for at in range(after, len(states)) if states[at]), None)
    # Without an old answer before it nobody knows since when.
    if first is None or not old:
        return Told(None, None, len(ordered), failed, returned)
    effective = ordered[first].received
    return Told(effective, effective - ordered[old[-1]].sent, len(ordered), failed, returned)


def shows(sample: Sample, number: int, kind: str) -> bool:
    """Whether a request met the new state."""
    return _state(sample, number, kind) is True


def _state(sample: Sample, number: int, kind: str) -> bool | None:
    """Whether a request met the new state; None when it met neither."""
    if sample.status != 200:
        return None
    return (sample.route if kind == "route" else sample.endpoint) >= number


def rows(
    windows: Sequence[Window],
    proxies: Sequence[str],
    samples: Mapping[int, Sequence[Sample]],
    warm: Mapping[tuple[int, str], float],
    log: PushLog,
) -> list[Effective]:
    """All rows; `samples` by change, `warm` by change and proxy, in absolute seconds."""
    sent: dict[str, list[Response]] = defaultdict(list)
    for response in log.responses:
        sent[proxy_of(response.stream)].append(response)
    made = []
    for window in windows:
        mine: dict[int, list[Sample]] = defaultdict(list)
        for sample in samples[window.number]:
            mine[sample.proxy].append(sample)
        source, commit = _server(window, log)
        for index, proxy in enumerate(proxies):
            row = Effective(window.number, proxy, window.kind, window.at, source, commit)
            row = _answered(row, window, sent[proxy])
            found = told(mine[index], window.number, window.kind)
            made.append(
                row._replace(
                    warm=_since(warm.get((window.number, proxy)), window.at),
                    effective=_since(found.effective, window.at),
                    resolution=found.resolution,
                    requests=found.requests,
                    failed=found.failed,
                    returned=found.returned,
                )
            )
    return made


def _server(window: Window, log: PushLog) -> tuple[float | None, float | None]:
    """The source event and the commit."""
    at = bisect_left(log.batches, window.at, key=lambda batch: batch.committed)
    if at == len(log.batches) or log.batches[at].committed >= window.until:
        return None, None
    batch = log.batches[at]
    return min(seen.at for seen in batch.changes) - window.at, batch.committed - window.at


def _answered(row: Effective, window: Window, sent: Sequence[Response]) -> Effective:
    begin = window.at + (row.commit or 0.0)
    mine = [one for one in sent if begin <= one.planned < window.until]
    if not mine:
        return row
    # The answer may be there before the server's writer has had its turn again: it was written by then.
    written = [time for one in mine for time in (one.written, one.answered) if time is not None]
    answers = [one.answered for one in mine if one.ok]
    return row._replace(
        planned=min(one.planned for one in mine) - window.at,
        written=_since(min(written, default=None), window.at),
        acked=_since(max(answers), window.at) if len(answers) == len(mine) else None,  # type: ignore[type-var]
    )


def _since(moment: float | None, at: float) -> float | None:
    return None if moment is None else moment - at


SPANS = {
    "rename_to_written": (None, "written"),
    "rename_to_acked": (None, "acked"),
    "rename_to_warm": (None, "warm"),
    "rename_to_effective": (None, "effective"),
    "commit_to_effective": ("commit", "effective"),
    "written_to_effective": ("written", "effective"),
    "acked_to_warm": ("acked", "warm"),
    "acked_to_effective": ("acked", "effective"),
    "warm_to_effective": ("warm", "effective"),
}
"""What is told of distributions: from one column (None: the rename) to another."""


def summarise(found: Sequence[Effective]) -> dict[str, Any]:
    """Distributions in milliseconds, over all rows and by kind of change."""
    kinds = sorted({row.kind for row in found})
    parts = {"all": found, **{kind: [row for row in found if row.kind == kind] for kind in kinds}}
    return {
        "rows": len(found),
        "changes": len({row.number for row in found}),
        "proxies": len({row.proxy for row in found}),
        "not_effective": sum(row.effective is None for row in found),
        "requests": sum(row.requests for row in found),
        "failed": sum(row.failed for row in found),
        "returned": sum(row.returned for row in found),
        "resolution_ms": distribution((r.resolution for r in found if r.resolution is not None), 1000),
        "last_proxy_ms": _last(found),
        "spans_ms": {name: _spans(part) for name, part in parts.items()},
    }


def _spans(part: Sequence[Effective]) -> dict[str, Summary]:
    made = {}
    for name, (begin, end) in SPANS.items():
        pairs = ((0.0 if begin is None else getattr(row, begin), getattr(row, end)) for row in part)
        made[name] = distribution((b - a for a, b in pairs if a is not None and b is not None), 1000)
    return made


def _last(found: Sequence[Effective]) -> Summary:
    """From the rename until the change was effective at the last proxy."""
    latest: dict[int, float] = {}
    for row in found:
        if row.effective is not None:
            latest[row.number] = max(latest.get(row.number, 0.0), row.effective)
    return distribution(latest.values(), 1000)
