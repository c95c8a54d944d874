"""One gRPC call over HTTP/2: against a real server, and frame by frame against a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import grpc
import pytest

from controlplane.lab.fleet import sockets
from controlplane.lab.fleet.http2 import Connection
from controlplane.lab.fleet.requests import DELTA_PATH

BUFFER = memoryview(bytearray(1 << 18))


class Server:
    """A gRPC server with one method; `address` is a Unix socket or a port."""

    def __init__(self, behaviour, address: str) -> None:
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        service, method = DELTA_PATH[1:].split("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(behaviour)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = self.server.add_insecure_port(address)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"

    async def __aenter__(self) -> Server:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)

    def connect(self, on_message, on_end) -> Connection:
        return Connection(sockets.connect(sockets.parse(self.address)), on_message, on_end)


async def drive(connection: Connection, until) -> None:
    async with asyncio.timeout(10):
        while not until():
            if not connection.ended:
                connection.readable(BUFFER)
            if not connection.ended:
                connection.writable()
            await asyncio.sleep(0.0005)


async def echo(_: object, context) -> None:
    while (data := await context.read()) is not grpc.aio.EOF:
        await context.write(data)


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_messages_of_all_sizes_go_both_ways_over_grpc(size: int, kind: str, tmp_path) -> None:
    async def test() -> None:
        async with Server(echo, f"unix:{tmp_path}/s" if kind == "unix" else "127.0.0.1:0") as server:
            got: list[bytes] = []
            connection = server.connect(got.append, pytest.fail)
            connection.open(DELTA_PATH, "here")
            connection.send(b"\0" * size, b"\1" * size)
            connection.send(b"\2" * size)
            await drive(connection, lambda: len(got) == 3)
            connection.close()
        assert got == [bytes([n]) * size for n in range(3)]

    asyncio.run(test())


def test_the_end_of_a_stream_is_told_once(tmp_path) -> None:
    async def refuse(_: object, context) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no")

    async def test() -> None:
        async with Server(refuse, f"unix:{tmp_path}/s") as server:
            ends: list[str] = []
            connection = server.connect(lambda data: None, ends.append)
            connection.open(DELTA_PATH)
            await drive(connection, lambda: ends)
            assert ends == ["stream ended by the server"]
            assert connection.ended

    asyncio.run(test())


def test_headers_of_any_length_arrive(tmp_path) -> None:
    seen = {}

    async def look(_: object, context) -> None:
        seen.update(context.invocation_metadata())

    tokens = {f"t{size}": "x" * size for size in (1, 126, 127, 128, 254, 255, 4000)}

    async def test() -> None:
        async with Server(look, f"unix:{tmp_path}/s") as server:
            ends: list[str] = []
            connection = server.connect(lambda data: None, ends.append)
            connection.open(DELTA_PATH, metadata=[("authorization", "Bearer abc"), *tokens.items()])
            await drive(connection, lambda: ends)

    asyncio.run(test())
    assert seen["authorization"] == "Bearer abc"
    assert {name: seen[name] for name in tokens} == tokens


def test_a_refused_connection_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ends: list[str] = []
    connection = Connection(sockets.connect(sockets.parse(f"127.0.0.1:{port}")), pytest.fail, ends.append)
    connection.open(DELTA_PATH)
    asyncio.run(drive(connection, lambda: ends))
    assert "refused" in ends[0]


@pytest.mark.parametrize(
    ("address", "family", "target"),
    [
        ("unix:/a/b", socket.AF_UNIX, "/a/b"),
        ("unix:///a/b", socket.AF_UNIX, "/a/b"),
        ("127.0.0.1:15010", socket.AF_INET, ("127.0.0.1", 15010)),
        ("[::1]:1", socket.AF_INET6, ("::1", 1)),
    ],
)
def test_addresses(address: str, family: int, target: object) -> None:
    assert sockets.parse(address)[:2] == (family, target)


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:port"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="unix:/path or host:port"):
        sockets.parse(address)


# -- frame by frame -----------------------------------------------------------------------------------

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8


def frame(kind: int, payload: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def message(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


class Far:
    """The server's end of a pair of sockets, and what the connection told."""

    def __init__(self) -> None:
        near, self.sock = socket.socketpair()
        near.setblocking(False)
        self.sock.setblocking(False)
        self.got: list[bytes] = []
        self.ends: list[str] = []
        self.connection = Connection(near, self.got.append, self.ends.append)
        self.connection.open(DELTA_PATH)
        self.frames()

    def say(self, data: bytes) -> None:
        self.sock.send(data)
        self.connection.readable(BUFFER)

    def frames(self) -> list[tuple[int, int, bytes]]:
        """(kind, flags, payload) of what was written since the last time."""
        try:
            data = self.sock.recv(1 << 20).removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        except BlockingIOError:
            return []
        found = []
        while data:
            head, flags, _ = struct.unpack_from(">IBI", data)
            found.append((head & 255, flags, data[9 : 9 + (head >> 8)]))
            data = data[9 + (head >> 8) :]
        return found


@pytest.fixture
def far() -> Iterator[Far]:
    one = Far()
    yield one
    one.sock.close()
    one.connection.close()


def test_a_message_may_be_cut_anywhere(far: Far) -> None:
    body = bytes(range(256)) * 3
    whole = message(b"first") + message(body) + message(b"") + message(b"last")
    for cut in range(1, len(whole), 7):
        far.got.clear()
        far.say(frame(DATA, whole[:cut]) + frame(DATA, whole[cut:]))
        assert far.got == [b"first", body, b"", b"last"]


def test_a_frame_may_arrive_in_pieces(far: Far) -> None:
    sent = frame(DATA, message(b"abcdef")) * 3
    for byte in sent:
        far.say(bytes([byte]))
    assert far.got == [b"abcdef"] * 3


def test_padding_is_no_message(far: Far) -> None:
    far.say(frame(DATA, b"\4" + message(b"x") + b"\0" * 4, flags=0x8))
    assert far.got == [b"x"]


def test_pings_and_settings_are_acknowledged(far: Far) -> None:
    far.say(frame(PING, b"12345678", stream=0) + frame(SETTINGS, b"", stream=0))
    assert far.frames() == [(PING, 1, b"12345678"), (SETTINGS, 1, b"")]
    far.say(frame(PING, b"12345678", flags=1, stream=0) + frame(SETTINGS, b"", flags=1, stream=0))
    far.connection.send(b"x")
    assert far.frames() == [(DATA, 0, message(b"x"))]


def test_no_more_is_sent_than_the_server_allows(far: Far) -> None:
    # The stream's window is 8 bytes, the connection's is large.
    far.say(frame(SETTINGS, struct.pack(">HI", 4, 8), stream=0))
    far.frames()
    far.connection.send(b"0123456789")
    assert far.frames() == [(DATA, 0, message(b"0123456789")[:8])]
    far.say(frame(WINDOW, struct.pack(">I", 3)))
    assert far.frames() == [(DATA, 0, b"345")]
    # A larger first window is more credit for what is under way; not before it is acknowledged.
    far.say(frame(SETTINGS, struct.pack(">HI", 4, 12), stream=0))
    assert far.frames() == [(SETTINGS, 1, b""), (DATA, 0, b"6789")]
    # A smaller one takes credit away, below nothing too.
    far.say(frame(SETTINGS, struct.pack(">HI", 4, 10), stream=0) + frame(WINDOW, struct.pack(">I", 2)))
    assert far.frames() == [(SETTINGS, 1, b"")]
    far.connection.send(b"x")
    assert far.frames() == []
    far.say(frame(WINDOW, struct.pack(">I", 6)))
    assert far.frames() == [(DATA, 0, message(b"x"))]


def test_a_draining_server_may_finish(far: Far) -> None:
    far.say(frame(GOAWAY, struct.pack(">II", 0x7FFF_FFFF, 0) + b"drain", stream=0))
    assert far.ends == []
    far.say(frame(GOAWAY, struct.pack(">II", 1, 0), stream=0) + frame(DATA, message(b"x")))
    assert (far.got, far.ends) == ([b"x"], [])
    far.say(frame(HEADERS, b"", flags=0x1 | 0x4))
    assert far.ends == ["stream ended by the server"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frame(GOAWAY, struct.pack(">II", 0, 0) + b"no", stream=0), "goaway (0): no"),
        (frame(GOAWAY, struct.pack(">II", 1, 11) + b"calm", stream=0), "goaway (11): calm"),
        (frame(RST, struct.pack(">I", 8)), "stream reset (8)"),
        (frame(DATA, b"", flags=1), "stream ended by the server"),
    ],
)
def test_ends(far: Far, sent: bytes, reason: str) -> None:
    # What comes after the end does not count.
    far.say(sent + frame(DATA, message(b"x")))
    assert (far.ends, far.got, far.connection.ended) == ([reason], [], True)
    far.connection.send(b"late")


def test_windows_are_opened_again(far: Far) -> None:
    half = 128 * 2**20
    chunk = frame(DATA, bytes(16_384))
    far.connection._seen = half - 5  # otherwise 128 MB would have to be sent
    far.say(chunk)
    opened = far.frames()
    more = struct.pack(">I", half - 5 + 16_384)
    assert opened == [(WINDOW, 0, more), (WINDOW, 0, more)]


def test_what_the_socket_does_not_take_waits(far: Far) -> None:
    far.say(
        frame(SETTINGS, struct.pack(">HI", 4, 2**30), stream=0)
        + frame(WINDOW, struct.pack(">I", 2**30), stream=0)
    )
    far.frames()
    data = bytes(range(256)) * 8000
    far.connection.send(data)
    assert far.connection.blocked
    received = b""
    while far.connection.blocked or len(received) < len(data) + 5:
        received += b"".join(payload for _, _, payload in _whole(far))
        far.connection.writable()
    assert received == message(data)


def _whole(far: Far) -> list[tuple[int, int, bytes]]:
    """Frames, some of which may be cut: those of one recv are read to their end."""
    data = b""
    found = []
    while True:
        while len(data) < 9:
            try:
                data += far.sock.recv(9 - len(data))
            except BlockingIOError:
                return found
        head, flags, _ = struct.unpack_from(">IBI", data)
        size = head >> 8
        data = data[9:]
        while len(data) < size:
            try:
                data += far.sock.recv(size - len(data))
            except BlockingIOError:
                far.connection.writable()
        found.append((head & 255, flags, data))
        data = b""
