"""The command line of `mini-istiod replay`."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from controlplane.app.replay import Options, replay
from controlplane.app.serve import collect_rarely
from controlplane.base import parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `replay`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what discovery --record wrote")
    seconds = parse.argument(parse.seconds)
    parser.add_argument(
        "--until", type=seconds, metavar="SECONDS", help="stop at this second of the recording"
    )
    parser.add_argument(
        "--proxy", default="", metavar="NAME.NAMESPACE", help="count and hash only this one's"
    )
    parser.add_argument(
        "--dump", type=Path, metavar="DIR", help="write what every proxy has at its end, as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """The command."""
    collect_rarely()
    # What was wrong with the mesh was told when it was recorded; --dump writes it down.
    logging.getLogger("controlplane.store.problems").setLevel(logging.CRITICAL)
    began = time.perf_counter()
    found = replay(Options(args.file, args.until, args.proxy, args.dump)).as_json()
    found["real_seconds"] = round(time.perf_counter() - began, 3)
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    shown = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in found.items()}
    print("\n".join(f"{name:14} {value}" for name, value in shown.items() if value != ""))
    return 0
