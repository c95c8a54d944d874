"""The command line of `mini-istiod docker-proxy`: Docker's socket, filtered, until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from pathlib import Path

from controlplane.app.docker_proxy import DockerProxy, bound
from controlplane.base import parse
from controlplane.base.parse import Address
from controlplane.telemetry import logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `docker-proxy`."""
    parser.add_argument(
        "--listen",
        required=True,
        type=parse.argument(_socket),
        metavar="unix:/PATH",
        help="the socket that answers; its folder is made if missing, and is what a control plane mounts",
    )
    parser.add_argument(
        "--docker",
        default="unix:/var/run/docker.sock",
        type=parse.argument(parse.dialled_address),
        metavar="ADDRESS",
        help="Docker's own: unix:/PATH or HOST:PORT (default unix:/var/run/docker.sock)",
    )
    parser.add_argument("--log-level", default="info", choices=parse.LOG_LEVELS)
    parser.add_argument("--log-format", default="text", choices=parse.LOG_FORMATS)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; EnvironmentUnfit when the socket cannot be had."""
    logs.configure(args.log_level, args.log_format)
    path = Path(args.listen.path)
    listening = bound(path)
    try:
        asyncio.run(_serve(listening, args.docker))
    finally:
        path.unlink(missing_ok=True)
    return 0


async def _serve(listening: socket.socket, docker: Address) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The first process of a container gets no signal that it does not ask for.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with DockerProxy(docker).serving(listening):
        await stop.wait()


def _socket(text: str) -> Address:
    found = parse.address(text)
    if not found.path:
        # A port would have no owner and no mode.
        raise ValueError("a Unix socket is wanted: unix:/PATH")
    return found
