"""`python -m bench.peers [NAME…]`: build what is missing, and say loudly what cannot be built."""

from __future__ import annotations

import argparse
import sys

from bench.peers.build import PROGRAMS, build_missing


def main(argv: list[str] | None = None) -> int:
    """0 when every program that was asked for is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)} (default: all that are compared)"
    )
    names = parser.parse_args(argv).name or [name for name, one in PROGRAMS.items() if one.compared]
    if unknown := sorted(set(names) - set(PROGRAMS)):
        parser.error(f"there is no {', '.join(unknown)}")
    return 1 if build_missing(names) else 0


if __name__ == "__main__":
    sys.exit(main())
