"""The command line of mini-istioctl.

Exit status: 0 done, 1 the control plane did not answer or has no such proxy, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from controlplane import __version__
from controlplane.base import parse
from controlplane.base.errors import MiniIstiodError
from controlplane.ctl import problems, proxy_status
from controlplane.ctl.monitoring import DEFAULT, NoAnswerError, fetch

_WIDE, _WIDEST = 1000, 10_000
"""Columns when the output is not a terminal: rows stay whole for grep and awk.  Problems are sentences."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    args = _parser(words).parse_args(words)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except NoAnswerError as error:
        print(f"mini-istioctl: {error}", file=sys.stderr)
        return 1
    except MiniIstiodError as error:
        print(f"mini-istioctl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has seen enough.  What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mini-istioctl", description="Ask a mini-istiod what it knows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    status = commands.add_parser(
        "proxy-status", aliases=["ps"], help="which proxies are connected and in what state"
    )
    status.add_argument("proxy", nargs="?", default="", help="only this one: NAME or NAME.NAMESPACE")
    status.set_defaults(run=_proxy_status)

    wrong = commands.add_parser("problems", help="what is wrong with the input now, and what to do about it")
    wrong.set_defaults(run=_problems)

    version = commands.add_parser("version", help="versions of this program and of the control plane")
    version.add_argument(
        "--remote",
        nargs="?",
        const=True,
        default=True,
        type=parse.boolean,
        help="ask the control plane (default true)",
    )
    version.add_argument("-o", "--output", choices=("text", "json"), default="text")
    version.set_defaults(run=_version)

    for command in (status, wrong):
        command.add_argument("-o", "--output", choices=("table", "json"), default="table")
        command.add_argument(
            "--token-file",
            metavar="FILE",
            type=parse.argument(_token),
            default="",
            help="what to show a control plane on another machine: see `mini-istiod token create`",
        )
    for command in (status, wrong, version):
        _whom_to_ask(command)

    project = commands.add_parser("compose", help="put a Compose project into the mesh")
    # Whoever asks a control plane need not load what reads YAML: it takes longer than the question.
    if "compose" in argv:
        from controlplane.ctl.compose.command import add_arguments

        add_arguments(project)
    return parser


def _whom_to_ask(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--monitoring",
        "--xds-address",
        metavar="URL",
        default=DEFAULT,
        help=f"monitoring port of the control plane (default {DEFAULT})",
    )
    command.add_argument(
        "--timeout", metavar="DURATION", type=parse.positive_duration, default="30s", help="default 30s"
    )


def _token(path: str) -> str:
    """The token in a file."""
    try:
        text = Path(path).read_text().strip() if path else ""
    except (OSError, ValueError) as error:
        raise ValueError(getattr(error, "strerror", None) or "it is no text") from error
    if not text.isprintable():
        raise ValueError("it is not one line")
    return text


def _proxy_status(args: argparse.Namespace) -> int:
    found = fetch(args.monitoring, "/debug/syncz", list, args.timeout, token=args.token_file)
    proxies = proxy_status.select(found, args.proxy)
    if args.proxy and not proxies:
        raise NoAnswerError(f"no proxy {args.proxy} is connected; proxy-status without a name lists them")
    if args.output == "json":
        print(json.dumps(proxies, indent=2))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
        console.print(proxy_status.table(proxies))
    return 0


def _problems(args: argparse.Namespace) -> int:
    found = fetch(args.monitoring, "/debug/problems", list, args.timeout, token=args.token_file)
    ordered = problems.ordered(found)
    if args.output == "json":
        print(json.dumps(ordered, indent=2))
    elif not ordered:
        print("No problems.")
    elif sys.stdout.isatty():
        Console(highlight=False).print(problems.paragraphs(ordered), soft_wrap=True)
    else:
        Console(highlight=False, width=_WIDEST).print(problems.table(ordered))
    return 0


def _version(args: argparse.Namespace) -> int:
    found = {"client": __version__}
    if args.remote:
        found["control plane"] = str(
            fetch(args.monitoring, "/version", dict, args.timeout).get("version", "")
        )
    if args.output == "json":
        print(json.dumps(found, indent=2))
    else:
        for name, version in found.items():
            print(f"{name} version: {version}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
