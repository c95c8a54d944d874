"""Where the server listens: loopback ports and Unix sockets, and what the operating system says to that."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.parse import Address
from controlplane.xds.options import XdsOptions

SOCKET_MODE = 0o666
"""Envoys run under other users; who may reach the socket is a matter of its directory."""


def channel_options(options: XdsOptions) -> tuple[tuple[str, int], ...]:
    """gRPC's channel arguments (https://grpc.github.io/grpc/core/group__grpc__arg__keys.html)."""
    arguments = [
        # A response may be as large as the mesh; a request is bounded, and gRPC refuses larger ones.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", options.max_receive),
        ("grpc.max_concurrent_streams", options.max_streams),
        # A token may have 8 KiB.  Where headers are longer than this, gRPC refuses some and not others.
        ("grpc.max_metadata_size", 16 * 2**10),
        # Envoy's keepalive is more frequent than gRPC thinks proper: by default that ends the connection.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.min_ping_interval)),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_interval)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.server_handshake_timeout_ms", _ms(options.handshake_timeout)),
        # Two control planes on one port each get some of the proxies: nothing to happen by mistake.
        ("grpc.so_reuseport", int(options.reuse_port)),
    ]
    if options.max_connection_age > 0:
        # gRPC itself varies the age by a tenth in both directions.
        arguments.append(("grpc.max_connection_age_ms", _ms(options.max_connection_age)))
        arguments.append(("grpc.max_connection_age_grace_ms", _ms(options.max_connection_age_grace)))
    return tuple(arguments)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def prepare(address: Address) -> None:
    """Remove the socket that a dead server left behind; EnvironmentUnfit when it is alive, or no socket."""
    if not address.path:
        return
    path = Path(address.path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise EnvironmentUnfit(f"cannot listen on {address}: no directory {path.parent}") from None
        return
    if not stat.S_ISSOCK(mode):
        raise EnvironmentUnfit(f"cannot listen on {address}: that file is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise EnvironmentUnfit(f"cannot listen on {address}: {error.strerror or error}") from error
    raise EnvironmentUnfit(f"cannot listen on {address}: another server is listening there")


def opened(address: Address, port: int) -> Address:
    """The address as bound: with the port that the system chose, and the socket open to other users."""
    if address.path:
        Path(address.path).chmod(SOCKET_MODE)
        return address
    return Address(address.host, port)
