"""`mini-istiod bench effective`: when a change can be felt, at real Envoys.

A server's clock ends with the last ACK.  Whether requests take the new way by then, only requests can
tell: here they run through every Envoy at a steady rate while a change is made, one change at a time.
The run folder gets effective.csv (a row for every change and Envoy), changes.csv, push-log.jsonl,
run.json, summary.json and report.html; the table on the screen is the summary's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from controlplane.base import parse
from controlplane.base.errors import SettingsError
from controlplane.lab import effective_report, environment
from controlplane.lab.effective_rows import Effective, summarise
from controlplane.lab.effective_run import Found, Setup, measure
from controlplane.lab.effective_schedule import KINDS
from controlplane.lab.latency import dataset
from controlplane.lab.pods import Lab

_PROTOCOLS: dict[str, Literal["GRPC", "DELTA_GRPC"]] = {"delta": "DELTA_GRPC", "sotw": "GRPC"}
_SHOWN = (
    "rename_to_acked",
    "rename_to_effective",
    "written_to_effective",
    "acked_to_warm",
    "acked_to_effective",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    plain = Setup()
    whole, positive = parse.argument(parse.whole), parse.argument(parse.positive)
    parser.add_argument("--envoys", type=whole, default=plain.envoys, metavar="N", help="sidecars (20)")
    parser.add_argument(
        "--services", type=whole, default=plain.services, metavar="N", help="in the mesh (100)"
    )
    parser.add_argument("--changes", type=whole, default=plain.changes, metavar="N", help="in all (30)")
    parser.add_argument(
        "--interval", type=positive, default=plain.interval, metavar="SECONDS", help="between two"
    )
    parser.add_argument(
        "--rate",
        type=positive,
        default=plain.rate,
        metavar="N",
        help="requests a second through each Envoy (100)",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="A,B", help="of changes, in turn (all)")
    parser.add_argument("--seed", type=int, default=plain.seed)
    parser.add_argument("--protocol", choices=_PROTOCOLS, default="delta")
    parser.add_argument(
        "--server-flag", action="append", default=[], metavar="FLAG", help="for the server; repeatable"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: reports/bench/effective-<time>")


def run(options: argparse.Namespace) -> int:
    """Measure once, write the folder, print the table.  Exit status 1 when a change was not felt somewhere.

    EnvironmentUnfit without root, Envoy or iptables.
    """
    setup = Setup(
        envoys=options.envoys,
        services=options.services,
        changes=options.changes,
        interval=options.interval,
        rate=options.rate,
        seed=options.seed,
        protocol=_PROTOCOLS[options.protocol],
        kinds=tuple(options.kinds.split(",")),
        flags=tuple(options.server_flag),
    )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder: Path = options.out or Path("reports/bench") / f"effective-{stamp}"
    try:
        parse.made_directory(folder)
    except ValueError as error:
        raise SettingsError(f"--out: {str(folder)!r} cannot be used: {error}") from error
    described = environment.describe()
    with Lab() as lab:
        rows, found = measure(lab, setup, (folder / "push-log.jsonl").absolute())
    summary = write(folder, setup, described, rows, found)
    print("\n".join(table(summary)))
    print(f"written to {folder}")
    return 1 if summary["not_effective"] else 0


def write(
    folder: Path, setup: Setup, described: Mapping[str, Any], rows: Sequence[Effective], found: Found
) -> dict[str, Any]:
    """Write the run folder's tables and summaries; returns what summary.json says."""
    dataset.write(folder / "effective.csv", Effective, rows)
    dataset.write(folder / "changes.csv", dataset.Change, found.changes)
    about = {"command": environment.command(), "setup": asdict(setup), "environment": described}
    (folder / "run.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    summary = {"scenario": "effective", **summarise(rows), "cpu_seconds": found.spent, **_cost(found, setup)}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    effective_report.write(folder, rows, summary, about)
    return summary


def _cost(found: Found, setup: Setup) -> dict[str, float]:
    """What asking costs: milliseconds of CPU a request, and the share of a core that it takes from Envoys."""
    requests = sum(map(len, found.samples.values())) or 1
    envoys = found.spent["envoys"]
    return {
        "envoy_cpu_ms_per_request": envoys / requests * 1000,
        "envoy_core_share_each": envoys / setup.envoys / found.spent["seconds"],
        "asking_cpu_ms_per_request": (found.spent["prober"] + found.spent["answers"]) / requests * 1000,
    }


def table(summary: Mapping[str, Any]) -> list[str]:
    """The summary for a terminal, in milliseconds."""
    lines = [
        f"{_counted(summary['changes'], 'change')} at {_counted(summary['proxies'], 'Envoy')}, "
        f"{summary['requests']} requests "
        f"({summary['failed']} failed, {summary['returned']} old answers after new ones)",
        "an effect is known to within (ms): " + _line(summary["resolution_ms"]),
        "",
        f"{'ms':<32}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
    ]
    for kind, spans in summary["spans_ms"].items():
        for name in _SHOWN:
            span = spans[name]
            if span["n"]:
                cells = "".join(f"{span[key]:9.1f}" for key in ("p50", "p90", "p99", "max"))
                lines.append(f"{kind + ' ' + name.replace('_', ' '):<32}{cells}")
    return lines


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _line(span: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {span[key]:.1f}" for key in ("p50", "p99", "max") if key in span)
