"""gRPC over HTTP/2 from a client's side: one connection, one stream, bytes in and out.

A synthetic proxy must cost less than what it measures.  A grpc.aio client takes as long to read a
message as the server takes to write it; this one a quarter of that, and no thread.  It speaks as much
of RFC 9113 as one gRPC stream needs: it never decodes headers, for their content does not matter here.
Windows are as large as Envoy's, frames as small as HTTP/2's default, as Envoy has them.

The socket is the owner's: what connects it, and puts TLS over it, is `sockets`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from controlplane.lab.fleet.sockets import Socket
from controlplane.lab.fleet.tls import TlsSocket

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 0x1, 0x4, 0x1, 0x8
_ENABLE_PUSH, _INITIAL_WINDOW, _MAX_FRAME = 2, 4, 5
_STREAM = 1
_WINDOW = 256 * 2**20
_DEFAULT_WINDOW = 65_535
_FRAME = 16_384
_NO_PREFIX = -1

Header = tuple[str, str]


class Connection:
    """One gRPC call on a non-blocking socket; the owner calls `readable` and `writable`.

    `on_message` is given each message as bytes; `on_end` the reason why there will be no more, once.
    """

    __slots__ = (
        "_chunks",
        "_credit",
        "_frame_size",
        "_initial",
        "_left",
        "_missing",
        "_on_end",
        "_on_message",
        "_out",
        "_prefix",
        "_queue",
        "_seen",
        "_shared",
        "_tls",
        "ended",
        "sock",
    )

    def __init__(
        self, sock: Socket, on_message: Callable[[bytes], None], on_end: Callable[[str], None]
    ) -> None:
        self.sock = sock
        # It keeps bytes of its own.
        self._tls = sock if isinstance(sock, TlsSocket) else None
        self.ended = False
        self._on_message = on_message
        self._on_end = on_end
        # The beginning of a frame whose end has not arrived.
        self._left = b""
        # The message that is being received: how many bytes are still to come, and those that are there.
        self._missing = _NO_PREFIX
        self._prefix = b""
        self._chunks: list[bytes] = []
        # What we may still send: on the stream, and on the connection.
        self._initial = self._credit = self._shared = _DEFAULT_WINDOW
        self._frame_size = _FRAME
        self._queue = bytearray()
        self._out = bytearray()
        self._seen = 0

    def open(self, path: str, authority: str = "localhost", metadata: Sequence[Header] = ()) -> None:
        """Begin the call; `metadata` are further request headers, names in lower case."""
        settings = struct.pack(">HIHI", _ENABLE_PUSH, 0, _INITIAL_WINDOW, _WINDOW)
        headers = _headers(("http" if self._tls is None else "https", path, authority), metadata)
        if len(headers) > _FRAME:
            raise ValueError(f"{len(headers)} bytes of headers do not fit into one frame")
        head = b"".join(
            (
                _PREFACE,
                _frame(_SETTINGS, 0, 0, settings),
                _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW - _DEFAULT_WINDOW)),
                _frame(_HEADERS, _END_HEADERS, _STREAM, headers),
            )
        )
        self._write(head)

    def send(self, *messages: bytes) -> None:
        """Send messages, as soon as the server's windows allow."""
        for message in messages:
            self._queue += struct.pack(">BI", 0, len(message))
            self._queue += message
        self._pump()

    def readable(self, buffer: memoryview) -> None:
        """Take in what has arrived; `buffer` is scratch space, larger than a frame, that all may share."""
        begun = len(self._left)
        buffer[:begun] = self._left
        try:
            size = self.sock.recv_into(buffer[begun:])
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if not size:
            self._end("connection closed")
            return
        at, end = 0, begun + size
        while end - at >= 9:
            length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            stop = at + 9 + length
            if stop > end:
                break
            # Our one stream has the number 1: the last byte of its number tells it from the connection.
            self._take(buffer[at + 3], buffer[at + 4], buffer[at + 8], buffer[at + 9 : stop])
            if self.ended:
                return
            at = stop
        self._left = bytes(buffer[at:end])

    def writable(self) -> None:
        """The socket takes bytes again."""
        self._write(b"")

    @property
    def blocked(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._out) or (self._tls is not None and self._tls.unsent)

    def close(self) -> None:
        """Drop the connection without a word, as a proxy that dies does."""
        self.ended = True
        self.sock.close()

    # -- frames ---------------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if kind == _DATA:
            self._seen += len(payload)
            if flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            self._receive(payload)
            if self._seen > _WINDOW // 2:
                self._replenish()
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
            # Before anything that the new settings allow: until then the server holds us to the old ones.
            self._write(_frame(_SETTINGS, _ACK, 0, b""))
            self._pump()
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, bytes(payload)))
        elif kind == _WINDOW_UPDATE:
            self._more_credit(stream, payload)
        elif kind == _RST_STREAM:
            self._end(f"stream reset ({int.from_bytes(payload, 'big')})")
        elif kind == _GOAWAY:
            self._go_away(payload)
        if flags & _END_STREAM and kind in (_DATA, _HEADERS):
            self._end("stream ended by the server")

    def _go_away(self, payload: memoryview) -> None:
        # A server that drains lets the streams that it knows go on until it ends them (RFC 9113, 6.8).
        last, error = struct.unpack_from(">II", payload)
        if error or last & 0x7FFF_FFFF < _STREAM:
            self._end(f"goaway ({error}): {bytes(payload[8:]).decode('latin-1')}")

    def _receive(self, payload: memoryview) -> None:
        while True:
            if self._missing < 0:
                if self._prefix:
                    payload = memoryview(self._prefix + bytes(payload))
                if len(payload) < 5:
                    self._prefix = bytes(payload)
                    return
                self._prefix = b""
                self._missing = int.from_bytes(payload[1:5], "big")
                payload = payload[5:]
            if len(payload) < self._missing:
                self._chunks.append(bytes(payload))
                self._missing -= len(payload)
                return
            self._chunks.append(bytes(payload[: self._missing]))
            payload = payload[self._missing :]
            whole = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self._missing = _NO_PREFIX
            self._on_message(whole)
            if self.ended or not payload:
                return

    def _replenish(self) -> None:
        more = struct.pack(">I", self._seen)
        self._write(_frame(_WINDOW_UPDATE, 0, 0, more) + _frame(_WINDOW_UPDATE, 0, _STREAM, more))
        self._seen = 0

    def _settings(self, payload: memoryview) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == _INITIAL_WINDOW:
                self._credit += value - self._initial
                self._initial = value
            elif name == _MAX_FRAME:
                self._frame_size = value

    def _more_credit(self, stream: int, payload: memoryview) -> None:
        more = int.from_bytes(payload, "big") & 0x7FFF_FFFF
        if stream:
            self._credit += more
        else:
            self._shared += more
        self._pump()

    def _pump(self) -> None:
        frames = []
        while self._queue:
            size = min(len(self._queue), self._credit, self._shared, self._frame_size)
            if size <= 0:
                break
            frames.append(_frame(_DATA, 0, _STREAM, bytes(memoryview(self._queue)[:size])))
            del self._queue[:size]
            self._credit -= size
            self._shared -= size
        if frames:
            self._write(b"".join(frames))

    def _write(self, data: bytes) -> None:
        if self.ended:
            return
        if self._out:
            self._out += data
            data = bytes(self._out)
        try:
            sent = self.sock.send(data) if data or self._tls is not None else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        self._out = bytearray(data[sent:])

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.close()
            self._on_end(reason)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _headers(target: tuple[str, str, str], metadata: Sequence[Header]) -> bytes:
    scheme, path, authority = target
    fields = (
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *metadata,
    )
    # HPACK (RFC 7541), literal fields that nobody indexes: a token is never kept in a table.
    return b"".join(b"\x10" + _text(name) + _text(value) for name, value in fields)


def _text(value: str) -> bytes:
    """A string without Huffman coding; its length begins with seven bits."""
    raw = value.encode()
    size = len(raw)
    if size < 127:
        return bytes((size,)) + raw
    rest = size - 127
    out = bytearray((127,))
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out) + raw
