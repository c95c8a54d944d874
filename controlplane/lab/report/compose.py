"""From run folders to reports: which numbers, which pictures, in which order, with which words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from controlplane.lab.latency.dataset import DatasetError
from controlplane.lab.latency.statistics import quantile
from controlplane.lab.report import bars, curves, page, sweeps, tables, timeline
from controlplane.lab.report.data import MS, Group, Run, repeats, seconds
from controlplane.lab.report.style import short
from controlplane.lab.report.words import OUTSIDE, with_unit


def write(folder: Path) -> Path:
    """report.html of one run folder, or of a folder of repeats; the pictures are beside it as SVG."""
    groups = group(repeats(folder))
    return _write(folder, "report", _title(groups), groups)


def compare(folders: Sequence[Path], into: Path | None = None) -> Path:
    """comparison.html of several runs; beside the first, or in `into`."""
    where = into or folders[0].parent
    groups = group([run for folder in folders for run in repeats(folder)])
    return _write(where, "comparison", _title(groups), groups)


def sweep(folders: Sequence[Path], parameter: str, into: Path | None = None) -> Path:
    """sweep.html: latency and cost against a parameter that the runs' run.json tells."""
    where = into or folders[0].parent
    where.mkdir(parents=True, exist_ok=True)
    groups = group([run for folder in folders for run in repeats(folder)], swept=parameter)
    drawn = sweeps.draw(groups, parameter, where / f"sweep-{parameter}.svg")
    parts = [
        page.heading(f"{_title(groups)}: {parameter}", 1),
        page.picture(drawn, "sweep", f"Against {parameter}. Bands are 95 % intervals over repeats."),
    ]
    for one in groups:
        rows = [
            (at, len(runs), *tables.figures([row for run in runs for row in run.rows]))
            for at, runs in sweeps.points(one.runs, parameter)
        ]
        head = (with_unit(parameter), "repeats", *tables.COLUMNS)
        parts.append(page.table(f"{one.label}: ms {OUTSIDE}", head, rows))
    parts += _repeat(groups)
    return _save(where / "sweep.html", _title(groups), parts)


def group(runs: Sequence[Run], swept: str = "") -> list[Group]:
    """Runs of one server with the same options and sizes are repeats of each other.

    A label names what tells a group from others of that server; `swept` does not tell groups apart.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.subject, json.dumps(_settings(run, swept))), []).append(run)
    labels = _labels([some[0] for some in found.values()], swept)
    return [Group(label, tuple(some)) for label, some in zip(labels, found.values(), strict=True)]


def _settings(run: Run, swept: str) -> dict[str, str]:
    settings = {"scenario": run.scenario}
    for place in ("label", "sizes", "options", "fleet"):
        said = run.about.get(place, {})
        named = said if isinstance(said, Mapping) else {place: said}
        settings.update({name: str(value) for name, value in named.items() if name != swept})
    return dict(sorted(settings.items()))


def _labels(runs: Sequence[Run], swept: str) -> list[str]:
    told = [_settings(run, swept) for run in runs]
    labels = []
    for run, mine in zip(runs, told, strict=True):
        others = [one for other, one in zip(runs, told, strict=True) if other.subject == run.subject]
        unlike = [
            f"{name} {mine[name]}" for name in mine if any(one.get(name) != mine[name] for one in others)
        ]
        labels.append(f"{run.subject} ({', '.join(unlike)})" if unlike else run.subject)
    return labels


# -- the page -------------------------------------------------------------------------------------------


def _write(folder: Path, name: str, title: str, groups: Sequence[Group]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    first = groups[0].runs[0]
    prefix = "" if name == "report" else f"{name}-"
    parts = [page.heading(title, 1)]
    if said := first.about.get("description"):
        parts.append(page.paragraph(str(said), "lead"))
    parts += [page.paragraph(sentence) for sentence in _sentences(groups)]
    parts.append(page.table(f"Latency in ms, {OUTSIDE}", ("what", *tables.COLUMNS), tables.latencies(groups)))
    parts += _pictures(groups, folder, prefix)
    if len(groups) > 1:
        parts.append(page.heading("Beside each other"))
        parts.append(tables.ratios(groups))
    parts += tables.stage_tables(groups)
    parts += tables.costs(groups)
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
    told = (
        "Where the time went: means, which add up. A write ends when the server notes it, which may be after"
        " its receipt. Servers that do not tell their stages are missing."
    )
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
            yield page.folded(f"Everything about {'/'.join(run.folder.parts[-2:])} ({one.label})", content)


def _command(run: Run) -> str:
    command = run.about.get("command")
    if isinstance(command, list):
        return shlex.join(map(str, command))
    if not command:
        raise DatasetError(f"{run.folder}/run.json does not say the command")
    return str(command)
