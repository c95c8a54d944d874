"""What a comparison says: figures of runs, ratios of neighbours with their intervals, one table.

A ratio is the other server's figure through ours, pair by pair: repeat n of both ran next to each other.
Above 1 we are faster, or smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from controlplane.lab.latency.statistics import median, quantile, ratio

Result = Mapping[str, Any]
OURS = "mini-istiod"
_SMALLEST = 1e-4
"""Seconds: a difference below it is not told from none (proxies' clocks are read as often)."""


class Figure(NamedTuple):
    """One number of a run; None where the server has none.  `target` is the least ratio to be reached."""

    name: str
    unit: str
    of: Callable[[Result], float | None]
    target: float | None = None


def last(run: Result, kind: str) -> float | None:
    """From the change to the last proxy's ACK, seconds, the middle one of a run's changes."""
    ends = [found[-1] for found in run[kind]["latencies"] if found]
    return median(ends) if ends else None


def net(run: Result, kind: str) -> float | None:
    """The same without what was told to wait: debounce, and a source's fixed wait."""
    found = last(run, kind)
    return None if found is None else max(found - run["debounce"] - run["fixed_wait"], _SMALLEST)


def cold(run: Result) -> float | None:
    """From the start of the new process until the last proxy has all that it asked for."""
    found = run["restart"]
    return None if found is None else found["ready"] + found["warm"][-1]


def _warm(run: Result) -> float | None:
    found = run["restart"]
    return None if found is None else found["warm"][-1]


def _beyond_idle(run: Result, kind: str) -> float:
    """CPU seconds of one change, without those of the time that its series took."""
    series = run[kind]
    count = max(len(series["latencies"]), 1)
    spent: float = series["cpu"] - run["idle_cpu"] * series["seconds"] / count
    return max(spent, _SMALLEST)


def _airbnb(share: float, net: bool = False) -> Callable[[Result], float | None]:
    def figure(run: Result) -> float | None:
        found = run.get("airbnb")
        if not found or not found["latencies"]:
            return None
        return quantile(found["latencies"], share) - (found["fixed_wait"] if net else 0.0)

    return figure


def _part(step: str, key: str, scale: float = 1.0) -> Callable[[Result], float | None]:
    def figure(run: Result) -> float | None:
        found = run.get(step)
        return None if found is None else found[key] * scale

    return figure


FIGURES: tuple[Figure, ...] = (
    Figure("VirtualService: change to last ACK", "ms", lambda run: _ms(last(run, "VirtualService"))),
    Figure("... without debounce and fixed wait", "ms", lambda run: _ms(net(run, "VirtualService")), 10.0),
    Figure("endpoints: change to last ACK", "ms", lambda run: _ms(last(run, "endpoints"))),
    Figure("... without debounce and fixed wait", "ms", lambda run: _ms(net(run, "endpoints")), 3.0),
    Figure("first connection of all: last one warm", "s", lambda run: run["fresh"]["warm"][-1]),
    Figure("restart: process start to last one warm", "s", cold, 3.0),
    Figure("... from ready to last one warm", "s", _warm),
    Figure("Airbnb: p90, all waits included", "ms", lambda run: _ms(_airbnb(0.9)(run)), 1 / 0.6),
    Figure("... without the source's fixed wait", "ms", lambda run: _ms(_airbnb(0.9, net=True)(run))),
    Figure("Airbnb: p50, all waits included", "ms", lambda run: _ms(_airbnb(0.5)(run))),
    Figure("CPU of one VirtualService change", "ms", _part("VirtualService", "cpu", 1000.0), 5.0),
    Figure("... beyond what it needs idle", "ms", lambda run: _ms(_beyond_idle(run, "VirtualService"))),
    Figure("CPU of one endpoint change", "ms", _part("endpoints", "cpu", 1000.0), 5.0),
    Figure("... beyond what it needs idle", "ms", lambda run: _ms(_beyond_idle(run, "endpoints"))),
    Figure("CPU while idle", "ms/s", lambda run: _ms(run["idle_cpu"])),
    Figure("CPU of the fleet in a VirtualService change", "ms", _part("VirtualService", "fleet_cpu", 1000.0)),
    Figure("CPU of the fleet in an endpoint change", "ms", _part("endpoints", "fleet_cpu", 1000.0)),
    Figure("CPU of one change of Airbnb's", "ms", _part("airbnb", "cpu", 1000.0)),
    Figure("CPU of the first connections", "s", _part("fresh", "cpu")),
    Figure("RSS, all services, no proxies", "MB", lambda run: run["rss_services"] / 1e6),
    Figure("RSS after the first connections", "MB", _part("fresh", "rss", 1e-6)),
    Figure("RSS after all steps, with most proxies", "MB", _part("rss", "most", 1e-6), 2.0),
    Figure("RSS at its peak since the restart", "MB", _part("rss", "peak", 1e-6)),
    Figure("bytes of a VirtualService change, per proxy", "B", _part("VirtualService", "bytes")),
    Figure("bytes of an endpoint change, per proxy", "B", _part("endpoints", "bytes")),
    Figure(
        "... beyond its ClusterLoadAssignment",
        "B",
        lambda run: run["endpoints"]["bytes"] - run["endpoint_bytes"],
    ),
    Figure("bytes of a first connection, per proxy", "B", _part("fresh", "bytes")),
    Figure("changes that did not reach a proxy", "", lambda run: float(_lost(run))),
)


def table(results: Mapping[str, Sequence[Result]], judged: bool = True) -> list[str]:
    """`cells` as lines of Markdown."""
    head, *rows = cells(results, judged)
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def cells(results: Mapping[str, Sequence[Result]], judged: bool = True) -> list[list[str]]:
    """The head, then a row for each figure: every server's median over repeats, and the ratios to ours.

    Targets are about istiod, and about the full size: others, and a small mesh, are not `judged`.
    """
    others = [name for name in results if name != OURS and results[name]]
    ours = results.get(OURS, ())
    rows = [["figure", "unit", OURS, *others, *(f"{name} / ours [95 %]" for name in others), "target"]]
    for figure in FIGURES:
        row = [
            figure.name,
            figure.unit,
            *(_middle(figure, results.get(name, ())) for name in (OURS, *others)),
        ]
        for name in others:
            target = figure.target if judged and name.startswith("istiod") else None
            row.append(shown(compared(figure, ours, results[name]), target))
        row.append("" if figure.target is None else f">= {figure.target:.2g}x")
        rows.append(row)
    return rows


def compared(figure: Figure, ours: Sequence[Result], theirs: Sequence[Result]) -> Mapping[str, Any] | None:
    """The ratio of the runs of equal repeats; None when no pair of them has two positive figures."""
    there = {run["repeat"]: figure.of(run) for run in theirs}
    pairs = [(figure.of(run), there.get(run["repeat"])) for run in ours]
    known = [(one, other) for one, other in pairs if one and other and one > 0 and other > 0]
    if not known:
        return None
    return ratio([other for _, other in known], [one for one, _ in known])


def shown(found: Mapping[str, Any] | None, target: float | None = None) -> str:
    """ "12.3x [11.8, 12.9]", and whether the target is met by the ratio itself."""
    if found is None:
        return ""
    text = f"{found['ratio']:.3g}x"
    if found["ci95"]:
        text += f" [{found['ci95'][0]:.3g}, {found['ci95'][1]:.3g}]"
    if target is not None:
        text += " met" if found["ratio"] >= target else " MISSED"
    return text


def _middle(figure: Figure, runs: Iterable[Result]) -> str:
    found = [value for run in runs if (value := figure.of(run)) is not None]
    return f"{median(found):,.4g}" if found else ""


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _lost(run: Result) -> int:
    lost: int = run["VirtualService"]["missing"] + run["endpoints"]["missing"]
    return lost


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
