"""TLS for a socket of the fleet's loop: it never blocks, and it looks like a socket to `http2`.

The TLS engine works on two buffers in memory; bytes go between these and the socket whenever the loop
says so.  What is written before the handshake is over is kept until it is.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

_SPARE = 1 << 15
"""More than one record of TLS: what may be left from the last read."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How proxies speak TLS: `roots` (PEM) they trust, `name` the server's certificate must be for.

    `certificate` and `key` (PEM) are shown to a server that asks for them.
    """

    roots: Path
    name: str = "istiod.istio-system.svc"
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """The engine's settings; OSError when a file is not there or is none of this kind."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.roots)
        context.set_alpn_protocols(["h2"])
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


class TlsSocket:
    """A non-blocking socket, connected or on its way, and TLS over it.

    As a socket's, its methods raise BlockingIOError where they would wait, and OSError when the
    connection or the handshake fails.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._sock = sock
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(self._arrived, self._leaving, server_hostname=name)
        self._shaken = False
        self._early = bytearray()
        self._unsent = b""

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._unsent)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, data: bytes) -> int:
        """Take all of it, and send what the socket takes; with b"" only the latter."""
        if not self._shaken:
            self._early += data
            self._shake()
        elif data:
            self._engine.write(data)
        self._flush()
        return len(data)

    def recv_into(self, buffer: memoryview) -> int:
        """Decrypt what has arrived; nothing is left that only another arrival would bring out."""
        arrived = self._sock.recv(len(buffer) - _SPARE)
        if not arrived:
            return 0
        self._arrived.write(arrived)
        if not self._shaken:
            self._shake()
        found = 0
        if self._shaken:
            with contextlib.suppress(ssl.SSLWantReadError):
                # Into a buffer it reads a number of bytes; the stubs know only of bytes.
                while size := int(self._engine.read(len(buffer) - found, buffer[found:])):
                    found += size
                if not found:
                    return 0  # the other side has said that this was all
        self._flush()
        if not found:
            raise BlockingIOError
        return found

    def _shake(self) -> None:
        try:
            self._engine.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError:
            # The other side is told why, if the socket takes it.
            with contextlib.suppress(OSError):
                self._flush()
            raise
        self._shaken = True
        if self._early:
            self._engine.write(bytes(self._early))
            self._early.clear()

    def _flush(self) -> None:
        self._unsent += self._leaving.read()
        if self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            self._unsent = self._unsent[sent:]
