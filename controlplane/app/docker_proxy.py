"""Docker's API behind a filter: a Unix socket that answers five questions and does nothing (aiohttp's door).

It runs beside the control plane, with the real socket and no network, and the control plane has the filtered
one.  A request is never passed on: a new one is made of what `docker_filter` understood of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from controlplane.app.docker_filter import Question, answer, event, question
from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.parse import Address
from controlplane.sources.docker.api import ANSWER_WITHIN, Lines, TooLong, parsed, session, url, whole

_log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Questions that are asked at the same time; more wait."""
_STREAMS = _AT_ONCE // 2
"""Streams of events among them; more are refused, because a stream need not end, and others would wait."""
_PASSED_HEADERS = ("Api-Version", "Ostype", "Date")
_FOR_ALL = 0o666
"""The control plane is another user; who has not its volume does not see the socket."""


class DockerProxy:
    """The filter in front of Docker at `docker`."""

    def __init__(self, docker: Address) -> None:
        self._docker = docker
        self._failure = ""
        self._streams = 0
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        """Answer on a socket that is bound; it is closed afterwards."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._respond)
        # Else whoever hangs up in a silence would hold a stream of events until something happens.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        async with session(self._docker, at_once=_AT_ONCE) as self._session:
            await runner.setup()
            try:
                await web.SockSite(runner, listening).start()
                yield
            finally:
                await runner.cleanup()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        asked = question(request.method, request.raw_path.partition("?")[0], dict(request.query))
        if isinstance(asked, str):
            _log.warning("not let through", extra={"method": request.method, "path": request.path})
            return _refusal(403, asked)
        try:
            if asked.kind == "events":
                return await self._events_if_room(request, asked)
            async with asyncio.timeout(ANSWER_WITHIN), self._asked(asked) as found:
                response = await _answered(asked, found)
        except (aiohttp.ClientError, OSError, ValueError, TooLong) as error:
            return self._failed(error)
        self._failed(None)
        return response

    async def _events_if_room(self, request: web.Request, asked: Question) -> web.StreamResponse:
        if self._streams >= _STREAMS:
            return _refusal(429, f"there are {_STREAMS} streams of events already")
        self._streams += 1
        try:
            return await self._events(request, asked)
        finally:
            self._streams -= 1

    async def _events(self, request: web.Request, asked: Question) -> web.StreamResponse:
        async with self._asked(asked) as found:
            if found.status != 200:
                return await _answered(asked, found)
            self._failed(None)
            stream = web.StreamResponse(headers=_headers(found))
            stream.content_type = "application/json"
            # From here on Docker going away is the end of the stream, as it is without a filter.
            await stream.prepare(request)
            try:
                lines = Lines()
                async for piece in found.content.iter_any():
                    for line in lines.of(piece):
                        left = event(parsed(line))
                        if left is not None:
                            await stream.write(json.dumps(left).encode() + b"\n")
            except (aiohttp.ClientError, OSError, ValueError, TooLong) as error:
                self._failed(error)
                if request.transport is not None:
                    request.transport.abort()
            return stream

    @asynccontextmanager
    async def _asked(self, asked: Question) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._session.get(
            url(self._docker, asked.path), params=asked.query, allow_redirects=False
        ) as found:
            yield found

    def _failed(self, error: Exception | None) -> web.Response:
        """Note whether Docker answers, in the log when that changes; what to say while it does not."""
        failure = "" if error is None else f"Docker does not answer: {_why(error)}"
        if failure and not self._failure:
            _log.warning(failure)
        elif self._failure and not failure:
            _log.info("Docker answers again")
        self._failure = failure
        return _refusal(502, failure)


def bound(path: Path) -> socket.socket:
    """A Unix socket at a path, in the place of one that a dead process left; EnvironmentUnfit."""
    made = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            if _answers(path):
                raise EnvironmentUnfit(f"--listen: another process serves on unix:{path}")
            path.unlink()
        made.bind(str(path))
        path.chmod(_FOR_ALL)
    except OSError as error:
        made.close()
        reason = error.strerror or str(error)
        raise EnvironmentUnfit(f"--listen: cannot serve on unix:{path}: {reason}") from error
    except EnvironmentUnfit:
        made.close()
        raise
    return made


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


async def _answered(asked: Question, found: aiohttp.ClientResponse) -> web.Response:
    """Docker's whole answer, cut down; of one that tells of a failure, the message."""
    body = await whole(found)
    if asked.kind == "_ping" and found.status == 200:
        return web.Response(text="OK", headers=_headers(found))
    value = parsed(body)
    if found.status != 200:
        return _refusal(found.status, str(value.get("message", "")) if isinstance(value, dict) else "")
    return web.json_response(answer(asked.kind, value), headers=_headers(found))


def _why(error: Exception) -> str:
    """In words that are equal for equal causes."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return f"nothing within {ANSWER_WITHIN:g} s"
    return (cause.strerror if isinstance(cause, OSError) else "") or str(cause) or type(cause).__name__


def _headers(found: aiohttp.ClientResponse) -> dict[str, str]:
    """Those that are passed on, of a Docker that writes them as HTTP wants it."""
    said = {name: found.headers.get(name, "") for name in _PASSED_HEADERS}
    return {name: value for name, value in said.items() if value and value.isascii() and value.isprintable()}


def _refusal(status: int, message: str) -> web.Response:
    """In Docker's form, so that its clients show the reason."""
    return web.json_response({"message": f"mini-istiod docker-proxy: {message}"}, status=status)
