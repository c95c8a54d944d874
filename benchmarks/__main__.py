"""`python -m benchmarks`: run the cases, print their tables, write reports/bench.json.

`--publish` also draws the plots into docs/images and puts the tables into docs/performance.md, where
they are between two marks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import fanout, machine, memory, report, spine, storm

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- results -->\n).*(<!-- end of results -->)", re.DOTALL)

CASES: dict[str, Callable[[bool], Any]] = {
    "spine": lambda quick: spine.run(repeats=5, sizes=(100, 1000)) if quick else spine.run(),
    "fanout": lambda quick: [
        fanout.run(proxies=100 if quick else 1000, namespaces=scopes, rounds=3 if quick else 20)
        for scopes in ((10,) if quick else (10, 100))
    ],
    "memory": lambda quick: memory.run(100, (10,)) if quick else memory.run(),
    "storm": lambda quick: storm.run(100 if quick else 1000),
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=tuple(CASES), help="this case (repeatable)")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run, not how fast")
    parser.add_argument("--publish", action="store_true", help="draw plots and update docs/performance.md")
    parser.add_argument("--from-report", action="store_true", help="run nothing, use reports/bench.json")
    args = parser.parse_args()
    path = _ROOT / "reports" / "bench.json"
    results = json.loads(path.read_text()) if args.from_report else _run(args.only or list(CASES), args.quick)
    if not args.from_report:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1))
    text = "\n\n".join(report.tables(results))
    print(text)
    if args.publish:
        _publish(results, text)
    return 0


def _run(names: list[str], quick: bool) -> dict[str, Any]:
    described = machine.describe()
    found = {}
    for name in names:
        began = time.monotonic()
        found[name] = CASES[name](quick)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return {"machine": described, "cases": found}


def _publish(results: dict[str, Any], text: str) -> None:
    # Here, so that the cases run where there is no matplotlib.
    from benchmarks import plots

    for made in plots.publish(results, _PAGE.parent / "images"):
        print(f"drawn: {made.relative_to(_ROOT)}", file=sys.stderr)
    page = _PAGE.read_text()
    if not _MARKED.search(page):
        raise SystemExit(f"{_PAGE.relative_to(_ROOT)} has no place for the results")
    _PAGE.write_text(_MARKED.sub(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", page))


if __name__ == "__main__":
    sys.exit(main())
