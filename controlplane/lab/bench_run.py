"""What `mini-istiod bench` does: command line to series, series to tables and reports."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from controlplane.base import parse
from controlplane.base.errors import MiniIstiodError
from controlplane.lab import bench_table, report
from controlplane.lab.bench import REPORTS
from controlplane.lab.bench_series import Series, run_series
from controlplane.lab.child import ChildError
from controlplane.lab.churn.scenario import Scenario, WorkloadError
from controlplane.lab.churn.workloads import SCENARIOS, scenario
from controlplane.lab.experiment import Setup
from controlplane.lab.fleet import Behaviour, FleetError, FleetOptions
from controlplane.lab.report.style import PlotError
from controlplane.lab.subjects import BY_NAME, Options

PROXIES = {"airbnb": 500}
"""Where a scenario means another number than 200: each of Airbnb's 500 pods has a proxy."""


class BenchError(MiniIstiodError):
    """A run could not be made, or did not get to its end."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What can be swept: how its values are read, and how they become part of a command line."""

    read: Callable[[str], float]
    apply: Callable[[argparse.Namespace, float], None]


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; the exit status.  MiniIstiodError says what is wrong with it."""
    try:
        return _COMMANDS[args.bench](args, _console())
    except (WorkloadError, FleetError, ChildError, TimeoutError) as error:
        raise BenchError(str(error)) from error


def _console() -> Console:
    # Into a file or a pipe goes what a wide terminal would show.
    return Console() if sys.stdout.isatty() else Console(width=140)


# -- commands -------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace, console: Console) -> int:
    console.print(bench_table.scenarios(SCENARIOS))
    return 0


def _run(args: argparse.Namespace, console: Console) -> int:
    made = series(args)
    out = _made(args.out or _fresh(args.scenario))
    summary = run_series(made, out, _telling(console))
    for table in bench_table.tables(summary):
        console.print(table)
    folders = [out / name for name in summary["runs"]] if len(made.setups) > 1 else [out]
    _reported(console, lambda: report.write(out) if len(folders) == 1 else report.compare(folders, out))
    return 0


def _sweep(args: argparse.Namespace, console: Console) -> int:
    parameter = SWEPT[args.parameter]
    values = [_value(args.parameter, text) for text in args.values]
    name = args.parameter.replace("-", "_")
    planned = []
    for text, value in zip(args.values, values, strict=True):
        parameter.apply(args, value)
        # All of them before the first is run: a mistake in the last one costs nothing.
        planned.append((text, replace(series(args), about={"swept": {name: value}})))
    out = _made(args.out or _fresh(f"sweep-{args.parameter}"))
    folders = [out / f"{args.parameter}-{text}" for text in args.values]
    found = []
    for (text, made), folder in zip(planned, folders, strict=True):
        told = _telling(console, f"{args.parameter} {text}: ")
        found.append((text, run_series(made, folder, told)))
    console.print(bench_table.sweep(args.parameter, found))
    _reported(console, lambda: report.sweep(folders, name, out))
    return 0


def _report(args: argparse.Namespace, console: Console) -> int:
    folders: Sequence[Path] = args.folders
    if len(folders) == 1:
        _reported(console, lambda: report.write(folders[0]))
    else:
        out = args.out and _made(args.out)
        _reported(console, lambda: report.compare(folders, out))
    return 0


# -- from the command line to a series ------------------------------------------------------------------


def series(args: argparse.Namespace) -> Series:
    """What the command line asks for; MiniIstiodError or WorkloadError for what cannot be."""
    chosen = scenario(args.scenario)
    sizes = {name: getattr(args, name) for name in ("services", "endpoints", "namespaces")}
    mesh = replace(chosen.mesh, **{name: value for name, value in sizes.items() if value is not None})
    workload = chosen(mesh, args.seed, args.seconds, **_options(chosen, args.set))
    if not workload.events:
        raise BenchError(f"{chosen.name}: nothing happens within {args.seconds:g} s; give more --seconds")
    setup = Setup(
        push_log=not args.no_push_log,
        proxies=args.proxies or PROXIES.get(chosen.name, 200),
        fleet=FleetOptions(
            processes=args.processes,
            protocol="DELTA_GRPC" if args.protocol == "delta" else "GRPC",
            behaviour=Behaviour(ack_delay=args.ack_delay),
        ),
        options=Options(
            debounce_after=args.debounce_after,
            debounce_max=max(args.debounce_max, args.debounce_after),
            push_throttle=args.throttle,
            arguments=tuple(args.server_flag),
        ),
        # A change may wait for the debounce, and for a source's own fixed time.
        quiet=1.0 + 2 * args.debounce_after + args.ack_delay,
    )
    subjects = tuple(dict.fromkeys(args.subject or ("mini-istiod",)))
    unknown = [name for name in subjects if name not in BY_NAME]
    if unknown:
        raise BenchError(f"--subject: {unknown[0]!r} cannot be used; allowed is {', '.join(BY_NAME)}")
    setups = tuple(replace(setup, subject=BY_NAME[name]) for name in subjects)
    return Series(workload, setups, args.repeats)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    wrong = [text for text in given if "=" not in text]
    if wrong:
        raise BenchError(f"--set: {wrong[0]!r} cannot be used; allowed is OPTION=VALUE")
    return dict(text.split("=", 1) for text in given)


def _options(chosen: Scenario, given: Sequence[str]) -> dict[str, Any]:
    """The scenario's options; none may be negative or endless, nor 0 what counts something."""
    read, defaults = chosen.parse(_pairs(given)), chosen.options()
    for name, value in read.items():
        if isinstance(value, int) and value < 1 <= defaults[name]:
            raise BenchError(f"{chosen.name}: option {name}={value}: a whole number above 0 is wanted")
        if isinstance(value, float) and not 0 <= value < math.inf:
            raise BenchError(f"{chosen.name}: option {name}={value:g}: a number, not negative, is wanted")
    return read


def _value(parameter: str, text: str) -> float:
    try:
        return SWEPT[parameter].read(text)
    except ValueError as error:
        raise BenchError(f"sweep {parameter}: {text!r} cannot be used: {error}") from error


def _churn(args: argparse.Namespace, rate: float) -> None:
    chosen: Scenario = scenario(args.scenario)
    if "arrivals" not in chosen.options():
        raise BenchError(f"sweep churn: {chosen.name} has no option `arrivals`")
    args.set = [
        *(text for text in args.set if not text.startswith("arrivals=")),
        f"arrivals=every:{1 / rate:g}",
    ]


def _setting(name: str) -> Callable[[argparse.Namespace, float], None]:
    return lambda args, value: setattr(args, name, value)


SWEPT: Mapping[str, Parameter] = {
    "debounce-after": Parameter(parse.duration, _setting("debounce_after")),
    "debounce-max": Parameter(parse.duration, _setting("debounce_max")),
    "throttle": Parameter(parse.whole, _setting("throttle")),
    "proxies": Parameter(parse.whole, _setting("proxies")),
    "services": Parameter(parse.whole, _setting("services")),
    "endpoints": Parameter(parse.whole, _setting("endpoints")),
    "churn": Parameter(parse.positive, _churn),
}


def _fresh(name: str) -> Path:
    return REPORTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _made(out: Path) -> Path:
    try:
        return parse.made_directory(out)
    except ValueError as error:
        raise BenchError(f"--out: {str(out)!r} cannot be used: {error}") from error


def _telling(console: Console, before: str = "") -> Callable[[str], None]:
    return lambda text: console.print(f"{before}{text}", style="dim", highlight=False)


def _reported(console: Console, write: Callable[[], Path]) -> None:
    try:
        console.print(f"report: {write()}", highlight=False, soft_wrap=True)
    except PlotError as error:
        # What was measured is there; only the pictures are missing.
        console.print(f"no report: {error}", highlight=False, soft_wrap=True)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace, Console], int]] = {
    "list": _list,
    "run": _run,
    "sweep": _sweep,
    "report": _report,
}
