"""One fetch of a key set over a real connection: its bounds, and where it may not go."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.networks import networks
from controlplane.sources.jwks.fetch import MOST_BYTES, Fetched, FetchFailed, HttpFetcher, max_age
from controlplane.sources.jwks.reach import Reach

Asked = Callable[[str], Coroutine[Any, Any, None]]


async def body(request: web.Request) -> web.StreamResponse:
    assert "Cookie" not in request.headers
    assert "Authorization" not in request.headers
    headers = {"Cache-Control": "public, max-age=300", "Set-Cookie": "a=b"}
    return web.Response(text='{"keys": []}', headers=headers)


async def moved(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/body")


async def slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(2 * MOST_BYTES // 65536):
        await response.write(b" " * 65536)
    return response


async def bomb(request: web.Request) -> web.StreamResponse:
    small = gzip.compress(b" " * 8 * MOST_BYTES)
    return web.Response(body=small, headers={"Content-Encoding": "gzip"})


async def broken(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def serving(test: Asked, tls: ssl.SSLContext | None = None) -> None:
    """Run a test against a server on loopback; it gets the server's URI."""

    async def main() -> None:
        app = web.Application()
        for handler in (body, moved, slow, endless, bomb, broken):
            app.router.add_get(f"/{handler.__name__}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        try:
            scheme = "http" if tls is None else "https"
            await test(f"{scheme}://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_a_document_and_how_long_it_is_good_for() -> None:
    async def test(uri: str) -> None:
        fetcher = HttpFetcher()
        for _ in range(2):
            assert await fetcher.fetch(f"{uri}/body", 5) == Fetched(b'{"keys": []}', 300.0)

    serving(test)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("moved", "answers 302: redirects are not followed"),
        ("nothing", "answers 404"),
        ("endless", f"answers with more than {MOST_BYTES} bytes"),
        ("bomb", f"answers with more than {MOST_BYTES} bytes"),
        ("broken", "cannot be read"),
        ("slow", "did not answer within 0.2s"),
    ],
)
def test_what_goes_wrong_is_said_in_a_few_words(path: str, fault: str) -> None:
    async def test(uri: str) -> None:
        with pytest.raises(FetchFailed) as failed:
            await HttpFetcher().fetch(f"{uri}/{path}", 0.2 if path == "slow" else 10)
        assert fault in str(failed.value)

    serving(test)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/keys", "http://localhost:1/keys"])
def test_nobody_there(uri: str) -> None:
    with pytest.raises(FetchFailed, match="cannot be connected to"):
        asyncio.run(HttpFetcher().fetch(uri, 5))


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(FetchFailed, match="has a host that cannot be resolved"):
        asyncio.run(HttpFetcher().fetch("http://nobody.invalid/keys", 5))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f000001", "[::1]"])
def test_a_blocked_address_is_not_dialled_whatever_it_is_called(host: str) -> None:
    async def test(uri: str) -> None:
        target = uri.replace("127.0.0.1", host)
        fetcher = HttpFetcher(Reach(networks("127.0.0.0/8, ::1/128")))
        with pytest.raises(FetchFailed, match="has an address that may not be asked"):
            await fetcher.fetch(f"{target}/body", 5)

    serving(test)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.1", True),
        ("127.0.0.1", True),
        ("2001:db8::1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("nonsense", False),
        ("2852039166", False),
    ],
)
def test_reach(address: str, allowed: bool) -> None:
    assert Reach().allows(address) is allowed
    assert Reach(networks("0.0.0.0/0,::/0")).allows(address) is False


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("public", None),
        ("max-age=60", 60.0),
        ('Public, Max-Age="60", must-revalidate', 60.0),
        ("max-age=60, no-store", 0.0),
        ("no-cache", 0.0),
        ("max-age=-1", None),
        ("max-age=nonsense", None),
        ("max-age=" + "9" * 400, None),
    ],
)
def test_cache_control(header: str, seconds: float | None) -> None:
    assert max_age(header) == seconds


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate of 127.0.0.1, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    root, private = folder / "root.pem", folder / "key.pem"
    root.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root, private)
    return root, context


def test_only_a_server_that_is_trusted_is_believed(tmp_path: Path) -> None:
    root, context = certificate(tmp_path)

    async def test(uri: str) -> None:
        found = await HttpFetcher(roots=root).fetch(f"{uri}/body", 5)
        assert found.body == b'{"keys": []}'
        with pytest.raises(FetchFailed, match="has a certificate that is not trusted"):
            await HttpFetcher().fetch(f"{uri}/body", 5)

    serving(test, context)


def test_tls_where_none_is_spoken() -> None:
    async def test(uri: str) -> None:
        with pytest.raises(FetchFailed, match="does not speak TLS"):
            await HttpFetcher().fetch(uri.replace("http:", "https:") + "/body", 5)

    serving(test)


def test_roots_that_cannot_be_read_are_the_operators_matter(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("nonsense")
    with pytest.raises(EnvironmentUnfit, match="holds no certificates"):
        HttpFetcher(roots=tmp_path / "roots.pem")
