"""The command line of `mini-istiod`: one sub-command each for what it can do."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from controlplane import __version__
from controlplane.base.errors import MiniIstiodError

Command = Callable[[argparse.Namespace], int]
Fill = Callable[[argparse.ArgumentParser], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2: the command line or a setting is wrong)."""
    # gRPC writes a line for every handshake that fails, without end, and does not say whose it was.  It
    # looks at this when it is loaded; what it does not tell, `controlplane.app.handshakes` does.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    words = sys.argv[1:] if argv is None else argv
    args = _parser(words).parse_args(words)
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


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="mini-istiod", description="An Envoy xDS control plane that speaks Istio's API.")
    parser.add_argument("--version", action="version", version=f"mini-istiod {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (summary, fill) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        # Others stay empty: all of them together take half a second and six megabytes to import.
        if name == chosen:
            fill(command)
    return parser


def _discovery(parser: argparse.ArgumentParser) -> None:
    from controlplane import settings

    settings.add_arguments(parser)
    parser.set_defaults(command=_discover)


def _discover(args: argparse.Namespace) -> int:
    from controlplane import settings
    from controlplane.app.serve import run

    return run(settings.from_args(args, os.environ))


def _of(module: str) -> Fill:
    """For a command that is a module: `add_arguments(parser)` declares what its `run(args)` reads."""

    def fill(parser: argparse.ArgumentParser) -> None:
        found = import_module(f"controlplane.{module}")
        parser.set_defaults(command=found.run)
        found.add_arguments(parser)

    return fill


_COMMANDS: dict[str, tuple[str, Fill]] = {
    "discovery": ("serve xDS from a watched directory", _discovery),
    "replay": ("play what discovery --record wrote, and hash what comes out", _of("app.replay_command")),
    "bootstrap": ("what a sidecar's or gateway's Envoy starts with, as JSON", _of("app.bootstrap_command")),
    "healthy": ("whether the control plane is ready, for a health check", _of("app.healthy_command")),
    "docker-proxy": ("Docker's socket with only questions let through", _of("app.docker_proxy_command")),
    "iptables": ("redirect a container's traffic through its sidecar", _of("app.iptables_command")),
    "provision": ("bootstraps and tokens for all proxies of a project", _of("app.provision_command")),
    "token": ("create, revoke and list the tokens of service accounts", _of("app.token_command")),
    "ca": ("who signs, and the change of root, of a running control plane", _of("app.ca_command")),
    "demo": ("a bookstore behind real Envoys follows a canary", _of("lab.demo")),
    "bench": ("measure pushes: scenarios, sweeps, servers side by side", _of("lab.bench")),
    "relay": ("stand between proxies and a control plane, and inject faults", _of("lab.relay_command")),
}
"""By name: what it is for, and what gives its arguments and its function to its parser."""
