"""`mini-istiod bench`: run a scenario, sweep a parameter, and see what came of it.

    bench list                          the scenarios
    bench run airbnb                    one scenario: distributions, stages, cost, and a report with plots
    bench run airbnb --subject mini-istiod --subject istiod-api --repeats 5
                                        two servers in turns, on the same schedule
    bench sweep debounce-after 0ms 50ms 100ms 200ms
    bench report DIR...                 make a report anew from the files of a run, or of several
    bench effective                     when changes can be felt at real Envoys

Needs no root and no Envoy, but for the last one.  Every run leaves a folder with all that was seen; see
docs/latency-lab.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from controlplane.base import parse
from controlplane.lab import effective

_whole, _duration = parse.argument(parse.whole), parse.argument(parse.duration)
_positive = parse.argument(parse.positive)

SWEPT = ("debounce-after", "debounce-max", "throttle", "proxies", "services", "endpoints", "churn")
"""Parameters that can be swept."""
REPORTS = Path("reports/bench")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the scenarios")
    listing.set_defaults(bench="list")

    one = commands.add_parser("run", help="run a scenario and report")
    one.add_argument("scenario", metavar="SCENARIO", help="see `bench list`")
    _sizes(one, seconds=50.0)
    one.set_defaults(bench="run")

    sweep = commands.add_parser("sweep", help="run a scenario once for each value of a parameter")
    sweep.add_argument("parameter", choices=SWEPT, metavar="PARAMETER", help=", ".join(SWEPT))
    sweep.add_argument("values", nargs="+", metavar="VALUE", help='such as "100ms" or 1000; churn: changes/s')
    sweep.add_argument("--scenario", default="endpoint-rotation", help="default: endpoint-rotation")
    _sizes(sweep, seconds=15.0)
    sweep.set_defaults(bench="sweep")

    again = commands.add_parser("report", help="make the report of one run, or compare several")
    again.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders that runs have left")
    again.add_argument("--out", type=Path, metavar="DIR", help="where a comparison goes")
    again.set_defaults(bench="report")

    felt = commands.add_parser("effective", help="when changes can be felt at real Envoys (needs root)")
    effective.add_arguments(felt)
    felt.set_defaults(command=effective.run)


def run(args: argparse.Namespace) -> int:
    """Do what the command line says; the exit status.  MiniIstiodError says what is wrong with it."""
    # Here, so that the other commands start without what only this one needs.
    from controlplane.lab import bench_run

    return bench_run.run(args)


def _sizes(parser: argparse.ArgumentParser, seconds: float) -> None:
    add = parser.add_argument
    add("--proxies", type=_whole, metavar="N", help="connected proxies (default 200; airbnb: 500)")
    add("--services", type=_whole, metavar="N", help="default: the scenario's own")
    add("--endpoints", type=_whole, metavar="N", help="of each service")
    add("--namespaces", type=_whole, metavar="N")
    add(
        "--seconds",
        type=_positive,
        default=seconds,
        metavar="S",
        help="of the schedule (default %(default)g)",
    )
    add("--seed", type=int, default=1, metavar="N", help="same seed, same schedule (default 1)")
    add("--repeats", type=_whole, default=1, metavar="N", help="each with a server of its own (default 1)")
    add("--protocol", choices=("delta", "sotw"), default="delta", help="what proxies speak (default delta)")
    add("--processes", type=_whole, default=1, metavar="N", help="processes of the fleet (default 1)")
    add("--ack-delay", type=_duration, default=0.0, metavar="TIME", help="how late proxies answer")
    add("--debounce-after", type=_duration, default=0.1, metavar="TIME", help="default 100ms")
    add("--debounce-max", type=_duration, default=10.0, metavar="TIME", help="default 10s")
    add("--throttle", type=_whole, metavar="N", help="proxies that are pushed to at once (default: server's)")
    servers = "mini-istiod (default), istiod-api, istiod-files, snapshot; repeatable"
    add("--subject", action="append", metavar="NAME", help=servers)
    add("--no-push-log", action="store_true", help="spare the server the account of its stages")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the scenario")
    add("--server-flag", action="append", default=[], metavar="FLAG", help="for the server; repeatable")
    add("--out", type=Path, metavar="DIR", help=f"default: {REPORTS}/<scenario>-<time>")
