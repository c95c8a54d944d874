"""`mini-istiod demo`: a directory of YAML drives real Envoys, step by step, before your eyes.

It takes what the machine has.  Pods made of network namespaces, as root or as anybody (then this process
becomes one that lives in a user namespace), are the whole story: controlplane.lab.demo_pods.  Without
them, containers tell a shorter one: controlplane.lab.demo_compose.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import demo_compose, demo_pods
from controlplane.lab.facts import COMPOSE_FILE, explore, inside
from controlplane.lab.ways import Way, Wish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    demo_pods.add_arguments(parser)
    parser.add_argument(
        "--on",
        type=Wish,
        choices=list(Wish),
        default=Wish.WHICHEVER,
        metavar="WHAT",
        help="namespaces, compose, or whichever can be had, in this order (the default)",
    )


def run(options: argparse.Namespace) -> int:
    """The demo.  Exit status: 0 all steps passed, 1 something failed, 130 interrupted.

    NoWay when it cannot run here; choices that do not exist are told before anything is tried.
    """
    demo_pods.choose(options.steps)
    found = explore(options.on)
    for line in found.instead:
        print(f"no network namespaces: {line}")
    print(f"on {found.way.value}", flush=True)
    if found.way is Way.COMPOSE:
        return demo_compose.run(options, found.compose, COMPOSE_FILE)
    if found.way is not Way.ROOT:
        _become(inside(found.way, (sys.executable, "-m", "controlplane.lab.demo_pods", *words(options))))
    return demo_pods.run(options)


def _become(command: list[str]) -> NoReturn:
    # Not a child: whoever started the demo knows this process, and sends its signals here.
    os.execv(command[0], command)


def words(options: argparse.Namespace) -> Sequence[str]:
    """The command line of controlplane.lab.demo_pods that says what these options say."""
    found = ["--requests", str(options.requests), "--delta" if options.protocol == "DELTA_GRPC" else "--sotw"]
    if options.steps is not None:
        found += ["--steps", options.steps]
    return (*found, "--keep") if options.keep else tuple(found)


def main() -> int:
    """`python -m controlplane.lab.demo`: the demo alone."""
    parser = argparse.ArgumentParser(prog="mini-istiod demo", description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except MiniIstiodError as error:
        print(f"mini-istiod: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
