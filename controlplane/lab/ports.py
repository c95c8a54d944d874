"""Ports of this machine for servers that have to be told theirs."""

from __future__ import annotations

import socket


def free_port(wanted: int = 0) -> int:
    """The wanted TCP port of the loopback, or another one where somebody has it already.

    Somebody else could take it before its server does; then that one says so and ends.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            if not wanted:
                raise
            return free_port()
        port: int = probe.getsockname()[1]
        return port
