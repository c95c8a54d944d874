"""`python -m bench.side_by_side`: this control plane and others, on one machine, in turns.

Every server is given the same mesh, the same fleet and the same changes; what can be set is set
alike.  The servers take turns, and the turn begins with another one in each repeat, so that what the
machine does besides meets all of them.  Written are every latency (JSON), a table of ratios with intervals,
plots and a page.  docs/peers.md tells what is fair about it and what is not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import machine, side_airbnb, side_page, side_runs, side_table
from bench.peers.build import build_missing
from bench.side_runs import Size
from controlplane.base.errors import MiniIstiodError
from controlplane.lab.child import ChildError
from controlplane.lab.fleet.fleet import FleetError
from controlplane.lab.subjects import BY_NAME, Options

_ROOT = Path(__file__).resolve().parents[1]
_NEEDS = {
    "mini-istiod": (),
    "istiod-api": ("pilot-discovery", "standin"),
    "istiod-files": ("pilot-discovery", "standin"),
    "snapshot": ("snapshot",),
}
SETTINGS: Mapping[str, Options] = {
    # 100 ms of debounce each, which is everybody's default; nobody is held back by a throttle.
    "raised": Options(push_throttle=1000, max_requests_per_second=10_000),
    "short": Options(debounce_after=0.01, push_throttle=1000, max_requests_per_second=10_000),
    # As each of them comes.
    "default": Options(),
}
_FULL = Size()
_QUICK = Size(services=200, proxies=50, most=100, changes=4, airbnb=15.0)

Runs = dict[str, list[dict[str, Any]]]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every server that was asked for was measured."""
    # Servers end with their blocks, so being told to end has to leave them.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    args = _arguments(argv)
    size = _size(args)
    missing = build_missing(sorted({program for name in args.subject for program in _NEEDS[name]}))
    subjects = [name for name in args.subject if not missing.keys() & set(_NEEDS[name])]
    folder = args.out or _ROOT / f"reports/bench/side-by-side-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "command": shlex.join(
            ["python", "-m", "bench.side_by_side", *(sys.argv[1:] if argv is None else argv)]
        ),
        "machine": machine.describe(),
        "size": asdict(size),
        "full": not args.quick,
        "missing": missing,
        "settings": {name: _told(SETTINGS[name]) for name in args.setting},
        "results": {},
        "failures": [],
    }
    for setting in args.setting:
        results: Runs = {name: [] for name in subjects}
        report["results"][setting] = results
        for repeat in range(args.repeats):
            for name in _turn(subjects, repeat):
                _once(report, results, name, setting, size, repeat)
                (folder / "side-by-side.json").write_text(json.dumps(_rounded(report)))
        print(f"\n## {setting}\n")
        print("\n".join(side_table.table(results, report["full"])))
    page = side_page.write(report, folder)
    print(f"\nall figures: {folder / 'side-by-side.json'}\npage: {page}")
    for failure in report["failures"]:
        print(f"!! FAILED: {failure}", file=sys.stderr)
    return 1 if missing or report["failures"] else 0


def _once(report: dict[str, Any], results: Runs, name: str, setting: str, size: Size, repeat: int) -> None:
    began = time.monotonic()
    options = SETTINGS[setting]
    try:
        run = side_runs.measure(BY_NAME[name], options, size)
        if size.airbnb:
            run["airbnb"] = side_airbnb.measure(BY_NAME[name], options, size.airbnb, repeat)
    except (MiniIstiodError, FleetError, ChildError, OSError) as error:
        # Said at once and at the end; the others are measured all the same.
        report["failures"].append(f"{name}, {setting}, repeat {repeat}: {error}")
        print(f"!! {report['failures'][-1]}", file=sys.stderr)
        return
    results[name].append({"repeat": repeat, **run})
    print(
        f"{setting} {repeat} {name}: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _turn(subjects: Sequence[str], repeat: int) -> list[str]:
    first = repeat % max(len(subjects), 1)
    return [*subjects[first:], *subjects[:first]]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.side_by_side", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--subject", action="append", choices=tuple(BY_NAME), help="only this server (repeatable)"
    )
    parser.add_argument("--setting", action="append", choices=tuple(SETTINGS), help="default: raised")
    parser.add_argument("--repeats", type=_count, help="default 5; 2 when quick")
    parser.add_argument("--quick", action="store_true", help="a small mesh: does it run, not how fast")
    parser.add_argument("--sotw", action="store_true", help="the fleet speaks state-of-the-world xDS")
    parser.add_argument("--services", type=_services, help="11 or more: the first ones are changed")
    parser.add_argument("--proxies", type=_count, help="for times")
    parser.add_argument("--most", type=_count, help="proxies, for memory")
    parser.add_argument("--changes", type=_count, help="of each kind")
    parser.add_argument(
        "--airbnb", type=_seconds, metavar="SECONDS", help="of Airbnb's scenario; 0: not at all"
    )
    parser.add_argument("--out", type=Path, help="folder; default reports/bench/side-by-side-<time>")
    args = parser.parse_args(argv)
    args.subject = args.subject or list(BY_NAME)
    args.setting = args.setting or ["raised"]
    if args.repeats is None:
        args.repeats = 2 if args.quick else 5
    return args


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text!r}")
    return number


def _services(text: str) -> int:
    number = _count(text)
    if number < 11:
        raise argparse.ArgumentTypeError(f"must be 11 or more, not {text!r}: the first ones are changed")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _size(args: argparse.Namespace) -> Size:
    size = _QUICK if args.quick else _FULL
    named = ("services", "proxies", "most", "changes", "airbnb")
    size = replace(size, **{name: value for name in named if (value := getattr(args, name)) is not None})
    size = replace(size, most=max(size.most, size.proxies))
    return replace(size, protocol="GRPC") if args.sotw else size


def _told(options: Options) -> dict[str, object]:
    named = ("debounce_after", "debounce_max", "eds_debounce", "push_throttle", "max_requests_per_second")
    return {name: getattr(options, name) for name in named}


def _rounded(value: Any) -> Any:
    """Numbers to a hundredth of a millisecond: there are many of them."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    sys.exit(main())
