"""`mini-istiod relay`: the relay as a program of its own, between any proxies and any control plane."""

from __future__ import annotations

import argparse
import asyncio
import signal

from controlplane.base import parse
from controlplane.base.errors import SettingsError
from controlplane.lab.faults import Faults

_SHARES = {
    "delay": "responses that are late",
    "drop": "responses that are lost",
    "drop_request": "requests that are lost",
    "reorder": "responses that the next one overtakes",
    "nack": "ACKs that become NACKs",
    "slow_ack": "ACKs that are late",
    "cut": "responses after which the stream breaks",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    address, upstream = parse.argument(parse.address), parse.argument(_upstream)
    seconds = parse.argument(parse.seconds)
    parser.add_argument(
        "--listen", type=address, required=True, metavar="ADDR", help="unix:/PATH or HOST:PORT for proxies"
    )
    parser.add_argument(
        "--upstream", type=upstream, required=True, metavar="ADDR", help="the control plane's address"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same faults (default 0)")
    for name, about in _SHARES.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=float, default=0.0, metavar="SHARE", help=f"{about}, 0 to 1")
    parser.add_argument(
        "--longest", type=seconds, default=Faults().longest, metavar="SECONDS", help="how late at most"
    )
    parser.add_argument(
        "--notice", type=seconds, default=2.0, metavar="SECONDS", help="from a loss to the end of its stream"
    )


def _upstream(text: str) -> parse.Address:
    found = parse.address(text)
    if not found.path and not (found.host and found.port):
        raise ValueError("a server is at HOST:PORT or unix:/PATH")
    return found


def run(options: argparse.Namespace) -> int:
    """Relay until SIGINT or SIGTERM, then tell what was done.  SettingsError for a share that is none."""
    try:
        faults = Faults(
            options.seed, longest=options.longest, **{key: getattr(options, key) for key in _SHARES}
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return asyncio.run(_run(options, faults))


async def _run(options: argparse.Namespace, faults: Faults) -> int:
    # gRPC takes a while to load: the other commands of this program need not wait for it.
    from controlplane.lab.relay import Relay

    relay = Relay(str(options.upstream), faults, options.notice)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"relaying {await relay.start(str(options.listen))} to {relay.upstream}", flush=True)
    await stop.wait()
    await relay.stop()
    print(", ".join(f"{name} {count}" for name, count in sorted(relay.counts.items())))
    return 0
