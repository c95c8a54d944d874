"""Asking Docker: four questions over HTTP, each bounded in time and size (aiohttp's door).

The filter in front of Docker asks the same way: how to reach it and how much to read stands here for both.

Only GETs, so a socket that is filtered to them is enough.  Three things that are not obvious:

*Which version.*  A daemon refuses versions that are too new for it and, since Docker 29, those below 1.44;
so `ping`, which has no version, is asked first, and the lower one of its version and ours is spoken.

*Since when.*  Docker sends the headers of /events before it subscribes.  Who lists containers after the
headers may therefore miss what happens between; so events are always asked for since a moment before, and
Docker gives those that it remembers (256 of them) and then goes on.

*Until when.*  A stream of events is silent while nothing happens, and a connection that is broken without a
word is silent, too.  So each stream has an end that Docker keeps by itself; one that outlives it is broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import aiohttp

from controlplane.base.clock import Clock, SystemClock
from controlplane.base.errors import MiniIstiodError
from controlplane.base.parse import Address
from controlplane.sources.docker.event import FILTERS

NEWEST = (1, 47)
"""The newest version of the API that is asked for; what is read has been the same since 1.24."""

ANSWER_WITHIN = 10.0
"""Seconds for any answer but the events."""

OVERTIME = 10.0
"""Seconds that a stream of events may outlive its end before it counts as broken."""

MOST_BYTES = 64 << 20
"""Of one answer; of one event, a sixteenth."""

_AWAY = frozenset((502, 503, 504))
"""What a filter in front of Docker answers for one that is not there."""

SAME_CLOCK = 2.0
"""Seconds of difference to Docker's clock that say nothing: its Date has whole seconds."""


class DockerFailed(MiniIstiodError):
    """Docker gave no usable answer; the message says why, goes on from "Docker …" and names no content.

    `away`: to no question at all, as far as can be seen.
    """

    def __init__(self, reason: str, *, away: bool = False) -> None:
        super().__init__(reason)
        self.away = away


class TooLong(Exception):
    """More than Docker ever says at once; the message goes on from "answers with …"."""


class Daemon(NamedTuple):
    """Who answered a ping: `version` is the one to speak, "" = the daemon's own.

    `ahead` is by how many seconds its clock is ahead of ours, 0.0 when that cannot be told from nothing.
    """

    version: str = ""
    ahead: float = 0.0


class Docker(Protocol):
    """What the source asks; every method raises DockerFailed."""

    async def ping(self) -> Daemon:
        """Whether it is there; the other questions are then asked in the version found."""
        ...

    async def containers(self) -> Sequence[Mapping[str, Any]]:
        """All containers, running or not, in short."""
        ...

    async def inspect(self, container: str) -> Mapping[str, Any] | None:
        """All about one container by its id, None when it does not exist."""
        ...

    def events(self, since: float, until: float) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        """What happened since, then what happens until (Unix seconds of the daemon's clock), as it comes.

        Events that arrived together come together; an empty first element says that the stream is open.
        """
        ...

    async def close(self) -> None:
        """Let all connections go."""
        ...


class HttpDocker:
    """Docker at a Unix socket, or at a TCP address without TLS: for a filter on a private network."""

    def __init__(self, address: Address, clock: Clock | None = None) -> None:
        self.address = address
        self._clock = clock or SystemClock()
        self._version = ""
        self._ahead = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def ping(self) -> Daemon:
        async with self._asked("/_ping", {}, ANSWER_WITHIN) as answer:
            if answer.status != 200:
                raise DockerFailed(f"answers {answer.status} to a ping")
            self._version = spoken(answer.headers.get("Api-Version", ""))
            self._ahead = _ahead(answer.headers.get("Date", ""), self._clock.wall())
            return Daemon(self._version, self._ahead)

    async def containers(self) -> Sequence[Mapping[str, Any]]:
        found = await self._json(f"{self._version}/containers/json", {"all": "1"})
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise DockerFailed("answers the list of containers with something else")
        return found

    async def inspect(self, container: str) -> Mapping[str, Any] | None:
        found = await self._json(f"{self._version}/containers/{quote(container, safe='')}/json", {})
        if found is not None and not isinstance(found, dict):
            raise DockerFailed("answers for a container with something else")
        return found

    async def events(self, since: float, until: float) -> AsyncGenerator[Sequence[Mapping[str, Any]], None]:
        query = {"since": f"{since:.6f}", "until": f"{until:.6f}", "filters": FILTERS}
        within = max(0.0, until - self._clock.wall() - self._ahead) + OVERTIME
        deadline = asyncio.get_running_loop().time() + within
        async with _failing(ANSWER_WITHIN):
            answer = await self._get(f"{self._version}/events", query)
        try:
            if answer.status != 200:
                raise DockerFailed(f"answers {answer.status} where its events are asked for")
            yield ()
            lines = Lines()
            while True:
                # Not one deadline around all: it would strike who takes the events, wherever that is then.
                async with _failing(within, deadline):
                    chunk = await answer.content.readany()
                    found = [_event(line) for line in lines.of(chunk)]
                if found:
                    yield found
                if not chunk:
                    return
        finally:
            answer.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _json(self, path: str, query: Mapping[str, str]) -> Any:
        """The answer's content, None for 404."""
        async with self._asked(path, query, ANSWER_WITHIN) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                away = answer.status in _AWAY
                raise DockerFailed(f"answers {answer.status} to GET {path}", away=away)
            return parsed(await whole(answer))

    @asynccontextmanager
    async def _asked(
        self, path: str, query: Mapping[str, str], within: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with _failing(within), await self._get(path, query) as answer:
            yield answer

    async def _get(self, path: str, query: Mapping[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = session(self.address)
        return await self._session.get(url(self.address, path), params=query, allow_redirects=False)


@asynccontextmanager
async def _failing(within: float, deadline: float | None = None) -> AsyncIterator[None]:
    """So many seconds, or until a time of the loop's; whatever fails meanwhile is a DockerFailed."""
    try:
        async with asyncio.timeout(within) if deadline is None else asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise DockerFailed(f"did not answer within {within:g} s") from None
    except TooLong as error:
        raise DockerFailed(f"answers with {error}") from None
    except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:
        raise DockerFailed(_why(error), away=not isinstance(error, ValueError)) from None


def spoken(offered: str) -> str:
    """The beginning of a path ("/v1.41") in the version that both sides know, "" where none is offered."""
    major, dot, minor = offered.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        return ""
    version = min((int(major), int(minor)), NEWEST)
    return f"/v{version[0]}.{version[1]}"


def session(address: Address, *, at_once: int = 0) -> aiohttp.ClientSession:
    """Connections to Docker, so many `at_once` (0: any number); answers have no deadline, connecting has."""
    connector: aiohttp.BaseConnector
    if address.path:
        connector = aiohttp.UnixConnector(address.path, limit=at_once)
    else:
        connector = aiohttp.TCPConnector(limit=at_once, use_dns_cache=False)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        # A stream of events has no end; all else is given one by who asks.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_WITHIN),
        trust_env=False,
    )


def url(address: Address, path: str) -> str:
    """Where a question goes; over a Unix socket the host says nothing."""
    return f"http://{'docker' if address.path else address}{path}"


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body of an answer that has an end; TooLong."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLong(f"more than {MOST_BYTES} bytes")
    return bytes(body)


def parsed(text: bytes) -> Any:
    """The JSON of an answer; ValueError, also where it is nested deeper than Python can follow."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Lines:
    """The lines of a stream of events, which comes in pieces of any length."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> list[bytes]:
        """The lines that end in this piece, without blank ones; TooLong for one that does not end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MOST_BYTES >> 4:
            raise TooLong("an event without end")
        # Since Docker 29 there may be a separator before each (RFC 7464).
        return [bare for line in lines if (bare := line.strip(b"\x1e \r"))]


def _event(line: bytes) -> Mapping[str, Any]:
    found = parsed(line)
    return found if isinstance(found, dict) else {}


def _ahead(date: str, wall: float) -> float:
    if not date:
        return 0.0
    # Up to a second of the daemon's time is cut off.
    found = parsedate_to_datetime(date).timestamp() + 0.5 - wall
    return found if abs(found) > SAME_CLOCK else 0.0


def _why(error: Exception) -> str:
    """In words that are equal for equal causes."""
    cause: Exception = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, socket.gaierror):
        return "has a host that cannot be resolved"
    if isinstance(cause, OSError) and cause.errno:
        return f"cannot be reached ({os.strerror(cause.errno)})"
    if isinstance(cause, ValueError):
        return "answers with what is no JSON"
    return f"broke off ({type(error).__name__})"
