"""TLS for the fleet's sockets: against real TLS servers, whole and in crumbs."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.lab.fleet import sockets
from controlplane.lab.fleet.http2 import Connection
from controlplane.lab.fleet.requests import DELTA_PATH
from controlplane.lab.fleet.tls import Tls, TlsSocket

NAME = "istiod.istio-system.svc"
BUFFER = memoryview(bytearray(1 << 18))


def certified(folder: Path) -> tuple[bytes, bytes]:
    """A key and a certificate that is its own root, for NAME; root.pem in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(exist_ok=True)
    for file, content in (("root.pem", certificate), ("key.pem", private)):
        (folder / file).write_bytes(content)
    return private, certificate


# -- a real gRPC server -------------------------------------------------------------------------


async def echo(_: object, context) -> None:
    while (data := await context.read()) is not grpc.aio.EOF:
        await context.write(data)


class Server:
    """A gRPC server that echoes, with TLS; it may demand a certificate that `roots` have signed."""

    def __init__(self, credentials: tuple[bytes, bytes], roots: bytes | None = None) -> None:
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        service, method = DELTA_PATH[1:].split("/")
        self.seen: list[dict[str, str | bytes]] = []

        async def answer(_: object, context) -> None:
            self.seen.append(dict(context.invocation_metadata()))
            await echo(_, context)

        handlers = {method: grpc.stream_stream_rpc_method_handler(answer)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        secure = grpc.ssl_server_credentials([credentials], roots, require_client_auth=roots is not None)
        port = self.server.add_secure_port("127.0.0.1:0", secure)
        self.address = f"127.0.0.1:{port}"

    async def __aenter__(self) -> Server:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)

    def connect(self, tls: Tls, on_message, on_end) -> Connection:
        sock = sockets.connect(sockets.parse(self.address))
        return Connection(sockets.secure(sock, tls.context(), tls.name), on_message, on_end)


async def drive(connection: Connection, until) -> None:
    async with asyncio.timeout(10):
        while not until():
            if not connection.ended:
                connection.readable(BUFFER)
            if not connection.ended and connection.blocked:
                connection.writable()
            await asyncio.sleep(0.0005)


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
def test_messages_of_all_sizes_go_both_ways_over_grpc(size: int, tmp_path: Path) -> None:
    credentials = certified(tmp_path)

    async def test() -> list[bytes]:
        async with Server(credentials) as server:
            got: list[bytes] = []
            connection = server.connect(Tls(tmp_path / "root.pem"), got.append, pytest.fail)
            connection.open(DELTA_PATH, "here", [("authorization", "Bearer mine")])
            connection.send(b"\0" * size, b"\1" * size)
            connection.send(b"\2" * size)
            await drive(connection, lambda: len(got) == 3)
            connection.close()
            assert server.seen[0]["authorization"] == "Bearer mine"
            return got

    assert asyncio.run(test()) == [bytes([n]) * size for n in range(3)]


@pytest.mark.parametrize("wrong", ["root", "name"])
def test_a_server_that_is_not_the_one_is_refused(wrong: str, tmp_path: Path) -> None:
    credentials = certified(tmp_path / "mine")
    certified(tmp_path / "other")
    tls = Tls(tmp_path / "other" / "root.pem") if wrong == "root" else Tls(tmp_path / "mine/root.pem", "else")

    async def test() -> tuple[list[str], int]:
        async with Server(credentials) as server:
            ends: list[str] = []
            connection = server.connect(tls, pytest.fail, ends.append)
            connection.open(DELTA_PATH)
            connection.send(b"never to be seen")
            await drive(connection, lambda: ends)
            return ends, len(server.seen)

    ends, seen = asyncio.run(test())
    assert "CERTIFICATE_VERIFY_FAILED" in ends[0]
    assert (len(ends), seen) == (1, 0)


@pytest.mark.parametrize("shown", [True, False])
def test_a_certificate_is_shown_to_a_server_that_demands_one(shown: bool, tmp_path: Path) -> None:
    credentials = certified(tmp_path)
    root, key = tmp_path / "root.pem", tmp_path / "key.pem"
    tls = Tls(root, certificate=root, key=key) if shown else Tls(root)

    async def test() -> tuple[list[bytes], list[str]]:
        async with Server(credentials, root.read_bytes()) as server:
            got: list[bytes] = []
            ends: list[str] = []
            connection = server.connect(tls, got.append, ends.append)
            connection.open(DELTA_PATH)
            connection.send(b"hello")
            await drive(connection, lambda: got or ends)
            connection.close()
            return got, ends

    got, ends = asyncio.run(test())
    assert (got, len(ends)) == (([b"hello"], 0) if shown else ([], 1))


# -- byte by byte -------------------------------------------------------------------------------


class Pair:
    """A TlsSocket, and a TLS server in memory whose bytes arrive as the test likes."""

    def __init__(self, folder: Path) -> None:
        certified(folder)
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.far.setblocking(False)
        self.client = TlsSocket(near, Tls(folder / "root.pem").context(), NAME)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "root.pem", folder / "key.pem")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self._in, self._out, server_side=True)

    def hear(self) -> None:
        """The server takes what the client has sent."""
        try:
            self._in.write(self.far.recv(1 << 20))
        except BlockingIOError:
            return

    def left(self) -> bytes:
        """What the server would send."""
        return self._out.read()

    def shake(self) -> None:
        self.client.send(b"")
        for _ in range(3):
            self.hear()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.do_handshake()
            self.far.send(self.left())
            with pytest.raises(BlockingIOError):
                self.client.recv_into(BUFFER)
            self.hear()

    def close(self) -> None:
        self.client.close()
        self.far.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    found = Pair(tmp_path)
    yield found
    found.close()


def test_a_record_in_crumbs_is_data_when_it_is_whole(pair: Pair) -> None:
    pair.shake()
    pair.server.write(b"hello")
    record = pair.left()
    for at in range(len(record) - 1):
        pair.far.send(record[at : at + 1])
        with pytest.raises(BlockingIOError):
            pair.client.recv_into(BUFFER)
    pair.far.send(record[-1:])
    assert pair.client.recv_into(BUFFER) == 5
    assert bytes(BUFFER[:5]) == b"hello"


def test_all_records_that_arrived_are_read_at_once(pair: Pair) -> None:
    pair.shake()
    for n in range(5):
        pair.server.write(bytes([n]) * 1000)
    pair.far.send(pair.left())
    # Nothing more will arrive, so nothing may stay inside.
    assert pair.client.recv_into(BUFFER) == 5000
    assert bytes(BUFFER[:5000]) == b"".join(bytes([n]) * 1000 for n in range(5))


def test_what_is_written_early_is_sent_after_the_handshake(pair: Pair) -> None:
    assert pair.client.send(b"early") == 5
    assert pair.client.send(b" bird") == 5
    pair.shake()
    assert pair.server.read() == b"early bird"


def test_what_the_socket_does_not_take_waits(pair: Pair) -> None:
    pair.shake()
    much = b"x" * 4_000_000
    assert pair.client.send(much) == len(much)
    assert pair.client.unsent
    got = 0
    while got < len(much):
        pair.hear()
        try:
            got += len(pair.server.read(1 << 20))
        except ssl.SSLWantReadError:
            pair.client.send(b"")
    assert not pair.client.unsent


def test_an_end_that_is_said_is_an_end(pair: Pair) -> None:
    pair.shake()
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    pair.far.send(pair.left())
    assert pair.client.recv_into(BUFFER) == 0


def test_a_connection_that_breaks_is_an_end(pair: Pair) -> None:
    pair.shake()
    pair.far.close()
    assert pair.client.recv_into(BUFFER) == 0
