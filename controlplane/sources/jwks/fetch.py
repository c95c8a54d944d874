"""One request for a key set: bounded in time and size, without redirects, cookies or proxies.

A redirect would lead past whoever reviewed the URI; so it is told to the author of the policy instead of
being followed.  What is answered never stands in a message: it may be somebody else's secret.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from controlplane.base.errors import EnvironmentUnfit, MiniIstiodError
from controlplane.sources.jwks.reach import Reach

MOST_BYTES = 1 << 20
"""Of a document, after decompression; the sets of large providers are a few kilobytes."""


class FetchFailed(MiniIstiodError):
    """Nothing usable came from a URI; the message goes on from "the key set of …" and names no content."""


class Fetched(NamedTuple):
    """What was answered; `max_age` seconds, where Cache-Control says so."""

    body: bytes
    max_age: float | None = None


class Fetcher(Protocol):
    """Who asks."""

    async def fetch(self, uri: str, within: float) -> Fetched:
        """The document there, `within` so many seconds; raises FetchFailed with words for the user."""
        ...


class _Resolver(AbstractResolver):
    """The system's resolver, less the addresses that may not be dialled."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [one for one in found if self._reach.allows(one["host"])]
        if found and not allowed:
            raise _Blocked
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class _Blocked(OSError):
    """Every address of a host is one that may not be dialled."""


class HttpFetcher:
    """Fetches over HTTP and HTTPS; `roots` (PEM file) are trusted beside those of the system.

    EnvironmentUnfit when they cannot be read.
    """

    def __init__(self, reach: Reach | None = None, roots: Path | None = None) -> None:
        self._reach = reach or Reach()
        # Reading the system's takes longer than the event loop may wait, and most meshes fetch nothing.
        self._tls = None if roots is None else _trusting(roots)

    async def fetch(self, uri: str, within: float) -> Fetched:
        """See `Fetcher`; a connection of its own, for once in twenty minutes."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._reach), use_dns_cache=False, ssl=self._tls, force_close=True
        )
        try:
            # Not the session's own timeout: it would leave out what comes before and after the request.
            async with asyncio.timeout(within), _session(connector) as session:
                return await self._ask(session, uri)
        except TimeoutError:
            raise FetchFailed(f"did not answer within {within:g}s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(_why(error)) from None

    async def _ask(self, session: aiohttp.ClientSession, uri: str) -> Fetched:
        host = urlsplit(uri).hostname or ""
        # A literal address never meets the resolver.
        if _is_literal(host) and not self._reach.allows(host):
            raise _Blocked
        async with session.get(uri, allow_redirects=False) as answer:
            if 300 <= answer.status < 400:
                raise FetchFailed(f"answers {answer.status}: redirects are not followed")
            if answer.status != 200:
                raise FetchFailed(f"answers {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(65536):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise FetchFailed(f"answers with more than {MOST_BYTES} bytes")
            return Fetched(bytes(body), max_age(answer.headers.get("Cache-Control", "")))


def _trusting(roots: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(roots)
    except OSError as error:
        raise EnvironmentUnfit(f"{roots} holds no certificates that can be read: {error}") from error
    return context


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json, application/jwk-set+json"},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
    )


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _why(error: Exception) -> str:
    """In a few words that are equal for equal causes, without anything that the peer said."""
    if isinstance(error, _Blocked) or isinstance(error.__cause__, _Blocked):
        return "has an address that may not be asked"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "has a certificate that is not trusted"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "does not speak TLS, or no version of it that is safe"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "has a host that cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be connected to ({error.os_error.strerror or 'no reason given'})"
    return f"cannot be read ({type(error).__name__})"


def max_age(header: str) -> float | None:
    """The seconds that Cache-Control (RFC 9111, section 5.2) gives, 0 for no-store; None = not said."""
    words = [word.strip().lower() for word in header.split(",")]
    if "no-store" in words or "no-cache" in words:
        return 0.0
    for word in words:
        name, _, value = word.partition("=")
        if name == "max-age" and value.strip('"').isdigit() and len(value) <= 12:
            return float(value.strip('"'))
    return None
