"""The command line of `mini-istiod`: one sub-command each for what it can do."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from controlplane import __version__, settings
from controlplane.base.errors import MiniIstiodError

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2: the command line or a setting is wrong)."""
    args = _parser().parse_args(argv)
    command: Command = args.command
    try:
        status = command(args)
        sys.stdout.flush()
        return status
    except MiniIstiodError as error:
        print(f"mini-istiod: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not _unread():
            raise
        # The reader (head, less) has seen enough.  What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _unread() -> bool:
    """Whether nobody reads what is printed; if not, it was another pipe or socket that broke."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return bool(output.poll(0))


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as commands do; its sub-commands are of the same class."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mini-istiod: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from controlplane.app import bootstrap_command, ca_command, replay_command, token_command
    from controlplane.lab import bench, demo, relay_command

    parser = _Parser(prog="mini-istiod", description="An Envoy xDS control plane that speaks Istio's API.")
    parser.add_argument("--version", action="version", version=f"mini-istiod {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    discovery = commands.add_parser("discovery", help="serve xDS from a watched directory")
    settings.add_arguments(discovery)
    discovery.set_defaults(command=_discovery)

    again = commands.add_parser("replay", help="play what discovery --record wrote, and hash what comes out")
    replay_command.add_arguments(again)
    again.set_defaults(command=replay_command.run)

    start = commands.add_parser("bootstrap", help="what a sidecar's or gateway's Envoy starts with, as JSON")
    bootstrap_command.add_arguments(start)
    start.set_defaults(command=bootstrap_command.run)

    tokens = commands.add_parser("token", help="create, revoke and list the tokens of service accounts")
    token_command.add_arguments(tokens)

    authority = commands.add_parser(
        "ca", help="who signs, and the change of root, of a running control plane"
    )
    ca_command.add_arguments(authority)
    authority.set_defaults(command=ca_command.run)

    shown = commands.add_parser("demo", help="a bookstore behind real Envoys follows a canary (needs root)")
    demo.add_arguments(shown)
    shown.set_defaults(command=demo.run)

    measured = commands.add_parser("bench", help="measure pushes: scenarios, sweeps, servers side by side")
    bench.add_arguments(measured)
    measured.set_defaults(command=bench.run)

    between = commands.add_parser(
        "relay", help="stand between proxies and a control plane, and inject faults"
    )
    relay_command.add_arguments(between)
    between.set_defaults(command=relay_command.run)
    return parser


def _discovery(args: argparse.Namespace) -> int:
    from controlplane.app.serve import run

    return run(settings.from_args(args, os.environ))
