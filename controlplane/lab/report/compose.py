"""From run folders to reports: which numbers, which pictures, in which order, with which words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from controlplane.lab.latency.dataset import DatasetError, Latency
from controlplane.lab.latency.statistics import distribution, interval, quantile, ratio
from controlplane.lab.report import bars, curves, page, sweeps, timeline
from controlplane.lab.report.data import MS, Group, Run, number, repeats, seconds, stages
from controlplane.lab.report.style import short
from controlplane.lab.report.words import FIGURES, OUTSIDE, STAGES

_COLUMNS = ("n", "p50", "p90", "p99", "max", "mean")


def write(folder: Path) -> Path:
    """report.html of one run folder, or of a folder of repeats; the pictures are beside it as SVG."""
    groups = group(repeats(folder))
    return _write(folder, "report", _title(groups), groups)


def compare(folders: Sequence[Path], into: Path | None = None) -> Path:
    """comparison.html of several runs; those of one server are repeats.  Beside the first, or `into`."""
    where = into or folders[0].parent
    groups = group([run for folder in folders for run in repeats(folder)])
    return _write(where, "comparison", _title(groups), groups)


def sweep(folders: Sequence[Path], parameter: str, into: Path | None = None) -> Path:
    """sweep.html: latency and cost against a parameter that the runs' run.json tells."""
    where = into or folders[0].parent
    where.mkdir(parents=True, exist_ok=True)
    groups = group([run for folder in folders for run in repeats(folder)])
    drawn = sweeps.draw(groups, parameter, where / f"sweep-{parameter}.svg")
    parts = [
        page.heading(f"{_title(groups)}: {parameter}", 1),
        page.picture(drawn, "sweep", f"Against {parameter}. Bands are 95 % intervals over repeats."),
    ]
    for one in groups:
        rows = [
            (at, len(runs), *_figures([row for run in runs for row in run.rows]))
            for at, runs in sweeps.points(one.runs, parameter)
        ]
        head = (parameter, "repeats", *_COLUMNS)
        parts.append(page.table(f"{one.label}: ms {OUTSIDE}", head, rows))
    parts += _repeat(groups)
    return _save(where / "sweep.html", _title(groups), parts)


def group(runs: Sequence[Run]) -> list[Group]:
    """Runs of one server under one name are repeats of each other; in order of first appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.about.get("label") or run.subject), []).append(run)
    return [Group(label, tuple(some)) for label, some in found.items()]


# -- the page -------------------------------------------------------------------------------------------


def _write(folder: Path, name: str, title: str, groups: Sequence[Group]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    first = groups[0].runs[0]
    prefix = "" if name == "report" else f"{name}-"
    parts = [page.heading(title, 1)]
    if said := first.about.get("description"):
        parts.append(page.paragraph(str(said), "lead"))
    parts += [page.paragraph(sentence) for sentence in _sentences(groups)]
    parts.append(page.table(f"Latency in ms, {OUTSIDE}", ("what", *_COLUMNS), _latencies(groups)))
    parts += _pictures(groups, folder, prefix)
    if len(groups) > 1:
        parts.append(page.heading("Beside each other"))
        parts.append(_ratios(groups))
    parts += _stage_table(groups)
    parts += _cost_table(groups)
    parts += _repeat(groups)
    return _save(folder / f"{name}.html", title, parts)


def _save(path: Path, title: str, parts: Sequence[str]) -> Path:
    path.write_text(page.page(title, parts), encoding="utf-8")
    return path


def _title(groups: Sequence[Group]) -> str:
    names = " and ".join(one.label for one in groups)
    return f"{groups[0].runs[0].scenario}: {names}"


def _sentences(groups: Sequence[Group]) -> Iterator[str]:
    for one in groups:
        ordered = sorted(seconds(row) * MS for run in one.runs for row in run.rows)
        if not ordered:
            yield f"{one.label}: no change reached any proxy."
            continue
        proxies = len({row.proxy for run in one.runs for row in run.rows})
        changes = sum(len({row.number for row in run.rows}) for run in one.runs)
        wait = max(run.fixed_wait for run in one.runs) * MS
        waited = (
            f" In this are {short(wait)} ms that it always waits before it looks at a file." if wait else ""
        )
        times = f" in {len(one.runs)} repeats" if len(one.runs) > 1 else ""
        half, tail = short(quantile(ordered, 0.5)), short(quantile(ordered, 0.99))
        yield (
            f"{one.label}: {changes} changes{times} reached {proxies} proxies, half of them within {half} ms "
            f"and 99 % within {tail} ms {OUTSIDE}.{waited if wait else ''}"
        )


def _pictures(groups: Sequence[Group], folder: Path, prefix: str) -> Iterator[str]:
    thin = " Thin lines are the repeats." if any(len(one.runs) > 1 for one in groups) else ""
    told = "Where the time went: means, which add up. Servers that do not tell their stages are missing."
    spent = "What a change cost the server. Lines over the bars are 95 % intervals over repeats."

    def at(name: str) -> Path:
        return folder / f"{prefix}{name}.svg"

    drawn = [
        ("latency", curves.distributions(groups, at("latency")), f"How long it took.{thin}"),
        ("stages", bars.waterfall(groups, at("stages")), told),
    ]
    if len(groups) > 1:
        drawn.append(("cost", bars.costs(groups, at("cost")), spent))
    else:
        first = groups[0].runs[0]
        seen = "Each change at the proxy that had it last; the mark is the receipt seen from outside."
        beside = "The run as it went: what was slow, and what else happened then."
        drawn += [
            ("changes", bars.changes(first, at("changes")), seen),
            ("timeline", timeline.timeline(first, at("timeline")), beside),
        ]
    yield page.heading("Pictures")
    for name, file, caption in drawn:
        if file is not None:
            yield page.picture(file, name, caption)


# -- tables ---------------------------------------------------------------------------------------------


def _figures(rows: Sequence[Latency]) -> tuple[object, ...]:
    found = distribution((seconds(row) for row in rows), MS)
    return tuple(found.get(name) for name in _COLUMNS)


def _latencies(groups: Sequence[Group]) -> Iterator[tuple[object, ...]]:
    for one in groups:
        named = f"{one.label}, " if len(groups) > 1 else ""
        yield f"{named}each proxy", *_figures([row for run in one.runs for row in run.rows])
        last = [row for run in one.runs for row in run.last().values()]
        yield f"{named}last proxy of a change", *_figures(last)
        for kind in sorted({kind for run in one.runs for kind in run.kinds()}):
            yield f"{named}{kind}, each proxy", *_figures([row for run in one.runs for row in run.of(kind)])


def _ratios(groups: Sequence[Group]) -> str:
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


_COSTS = ("cpu_seconds_per_change", "bytes_per_change", "pushes_per_change", "rss_mb")


def _share(rows: Sequence[Latency], share: float, less: float = 0.0) -> float | None:
    ordered = sorted(seconds(row) for row in rows)
    return quantile(ordered, share) - less if ordered else None


def _stage_table(groups: Sequence[Group]) -> Iterator[str]:
    yield page.heading("Stages")
    for one in groups:
        told = [found for run in one.runs for row in run.rows if (found := stages(row)) is not None]
        if not told:
            yield page.paragraph(f"{one.label} does not tell its stages: what is known is seen from outside.")
            continue
        rows = []
        for stage in STAGES:
            found = distribution((one_row[stage.name] for one_row in told), MS)
            rows.append((stage.name, *(found[name] for name in _COLUMNS[1:]), stage.meaning))
        head = ("stage", *_COLUMNS[1:], "what it is")
        yield page.table(f"{one.label}: ms of each stage, over {len(told)} (change, proxy)", head, rows)
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
        f"The server's stages and the clock outside {verdict}: of {rows} (change, proxy), {close:.1%} differ by "
        f"at most {allowed} ms and {apart} by more than that and the measured scheduling error."
    )


def _cost_table(groups: Sequence[Group]) -> Iterator[str]:
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


# -- how to do it again ---------------------------------------------------------------------------------


def _repeat(groups: Sequence[Group]) -> Iterator[str]:
    yield page.heading("How to do it again")
    for command in dict.fromkeys(_command(run) for one in groups for run in one.runs):
        yield page.code(command)
    yield page.paragraph("The same seed gives the same schedule on every machine; times are of this one.")
    first = groups[0].runs[0]
    if environment := first.about.get("environment"):
        yield page.heading("Where it was run")
        yield page.facts(environment)
    for one in groups:
        for run in one.runs:
            about = {key: value for key, value in run.about.items() if key not in ("environment", "command")}
            content = page.facts(about) + page.heading("Measured", 3) + page.facts(run.summary)
            yield page.folded(f"Everything about {run.folder.name} ({one.label})", content)


def _command(run: Run) -> str:
    command = run.about.get("command")
    if isinstance(command, list):
        return shlex.join(map(str, command))
    if not command:
        raise DatasetError(f"{run.folder}/run.json does not say the command")
    return str(command)
