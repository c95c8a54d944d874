"""The monitoring port: readiness, metrics, version and whatever debug views the owners of data wire in.

This server knows paths, not contents.  A route is a plain function of the query; it returns something
that JSON can hold, an iterator of such items, or a `Response`.  Long lists are written in pieces, with
a turn of the event loop between them, because the same loop reads the proxies' ACKs.

Debug paths show the whole configuration: they answer this machine, and others as far as a judge allows
(see `visitors`).  Everything else, as readiness and metrics, is open.  What changes something is a POST,
which only this machine may send, whatever else is allowed, and no web page that is open on it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from aiohttp import web

from controlplane.base.errors import EnvironmentUnfit
from controlplane.telemetry.patience import Connections
from controlplane.telemetry.visitors import Judge, Request, closed, is_here, turned_away

log = logging.getLogger(__name__)

DEBUG = "/debug"
_PIECE = 64 * 1024
_SLOWEST = 60.0
"""Seconds in which a client has to take a piece of an answer."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is not plain JSON with status 200; `body` may come in pieces."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes | Iterable[bytes] = b""


Handler = Callable[[Mapping[str, str]], Any]
"""Gets the query (the first value of each name).  May raise: the client sees 500, the log the reason."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path, what it shows in one line, and its function; `act` is what a POST does, if anything."""

    path: str
    about: str
    handler: Handler
    act: Handler | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """What every control plane answers: `ready()` is "" or the reason why not yet."""

    ready: Callable[[], str]
    metrics: Callable[[], tuple[str, bytes]]
    version: Callable[[], Mapping[str, Any]]

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("/ready", "200 when proxies may be served, else 503 and the reason", self._ready),
            Route("/metrics", "Prometheus metrics", self._metrics),
            Route("/version", "version of this control plane", lambda query: dict(self.version())),
        )

    def _ready(self, query: Mapping[str, str]) -> Response:
        reason = self.ready()
        return Response(503 if reason else 200, body=f"{reason or 'ready'}\n".encode())

    def _metrics(self, query: Mapping[str, str]) -> Response:
        content_type, body = self.metrics()
        return Response(200, content_type, body)


class Monitoring:
    """The server: `await start(host, port)`, `await stop()`.

    `base` answers /ready, /metrics and /version; `routes` are added below them.  With
    `remote_debug` debug paths answer every peer, else those from elsewhere as `judge` says.
    """

    def __init__(
        self,
        base: Base,
        routes: Iterable[Route] = (),
        *,
        remote_debug: bool = False,
        judge: Judge = closed,
    ) -> None:
        self._routes = {route.path: route for route in (*base.routes(), *routes)}
        self._remote_debug = remote_debug
        self._judge = judge
        self._runner: _Runner | None = None
        index = Route(DEBUG, "this list", self._index)
        for path in (DEBUG, f"{DEBUG}/", f"{DEBUG}/list"):
            self._routes.setdefault(path, index)

    def _index(self, query: Mapping[str, str]) -> dict[str, str]:
        return {
            path: route.about for path, route in sorted(self._routes.items()) if route.about != "this list"
        }

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen ("" is every interface, port 0 a free one) and return what was bound.

        Raises `EnvironmentUnfit` when the address cannot be had.
        """
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._patiently)
        # A stop must not wait long for a client that reads a big answer slowly.
        runner = _Runner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            await self.stop()
            raise EnvironmentUnfit(
                f"cannot serve monitoring on {host}:{port}: {error.strerror or error}; "
                "free the port or choose another with --monitoring-addr"
            ) from error
        bound = runner.addresses[0]
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Close the port and end what is being answered; harmless when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _patiently(self, request: web.Request) -> web.StreamResponse:
        if self._runner is None:  # it is being stopped
            return _error(503, "this control plane is shutting down")
        with self._runner.connections.answering(request.transport):
            return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if request.method == "POST" and not _is_own(request):
            reason = "only a command on this machine may change something"
            turned_away("debug", reason, Request(path, {}, "", request.remote or ""))
            return _error(403, reason)
        if request.method not in ("GET", "HEAD", "POST"):
            return _error(405, f"{request.method} is not answered here, only GET, HEAD and POST are")
        query = {name: request.query[name] for name in request.query}
        if _is_debug(path) and not self._remote_debug and not _is_here(request):
            asked = Request(path, query, request.headers.get("Authorization", ""), request.remote or "")
            refusal = await self._judge(asked)
            if refusal is not None:
                return _error(*refusal)
        route = self._routes.get(path)
        if route is None:
            return _error(404, f"there is nothing at {path}: see {DEBUG} for what there is")
        handler = route.act if request.method == "POST" else route.handler
        if handler is None:
            return _error(405, f"{path} can only be read")
        try:
            answer = handler(query)
            if not isinstance(answer, Response):
                answer = Response(content_type="application/json", body=_json_pieces(answer))
            # A view that fails does so now, or with the first piece, while a 500 can still be said.
            pieces = iter((answer.body,) if isinstance(answer.body, bytes) else answer.body)
            head, second = next(pieces, b""), next(pieces, None)
        except Exception as error:
            log.exception("a monitoring view failed", extra={"path": path})
            return _error(500, f"{path} failed with {type(error).__name__}: the log has the traceback")
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
        if second is None or request.method == "HEAD":
            return web.Response(status=answer.status, body=head, headers=headers)
        stream = web.StreamResponse(status=answer.status, headers=headers)
        await stream.prepare(request)
        return await _write(request, stream, chain((head, second), pieces))


class _Runner(web.AppRunner):
    """Waits for no client without end."""

    connections: Connections

    async def setup(self) -> None:
        await super().setup()
        made = super().server
        assert made is not None
        self.connections = Connections(made)

    @property
    def server(self) -> Any:
        """What makes the protocol of a connection."""
        return self.connections


async def _write(
    request: web.Request, stream: web.StreamResponse, pieces: Iterator[bytes]
) -> web.StreamResponse:
    """Write a long answer; between two pieces the loop reads ACKs."""
    try:
        for piece in pieces:
            try:
                async with asyncio.timeout(_SLOWEST):
                    await stream.write(piece)
            except ConnectionError:
                return stream  # the client left: aiohttp closes our side
            except TimeoutError:
                log.warning("a visitor does not read", extra={"path": request.path, "peer": request.remote})
                _hang_up(request)
                return stream
            await asyncio.sleep(0)
    except Exception:
        log.exception("a monitoring view failed while it was read", extra={"path": request.path})
        # The status said 200 already: a connection cut short is the only way left to say no.
        _hang_up(request)
    return stream


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _json_pieces(value: Any) -> Iterator[bytes]:
    """A JSON text in pieces of about 64 KiB; lists, iterators and the values of dicts are split."""
    waiting: list[str] = []
    size = 0
    for text in _json_texts(value):
        waiting.append(text)
        size += len(text)
        if size >= _PIECE:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield ("".join(waiting) + "\n").encode()


def _json_texts(value: Any, depth: int = 2) -> Iterator[str]:
    if depth and isinstance(value, Mapping):
        start, lead = "{", ""
        for key, item in value.items():
            yield f"{start}{lead}{json.dumps(str(key))}: "
            yield from _json_texts(item, depth - 1)
            start, lead = "", ",\n"
        yield "{}" if start else "}"
    elif depth and isinstance(value, (list, tuple, Iterator)):
        start, lead = "[", ""
        for item in value:
            yield f"{start}{lead}"
            yield from _json_texts(item, depth - 1)
            start, lead = "", ",\n"
        yield "[]" if start else "]"
    else:
        yield json.dumps(value, allow_nan=False)


def _is_debug(path: str) -> bool:
    return path == DEBUG or path.startswith(f"{DEBUG}/")


def _is_own(request: web.Request) -> bool:
    """Whether a command on this machine asks; a browser's page would say where it is from."""
    return _is_here(request) and "Origin" not in request.headers


def _is_here(request: web.Request) -> bool:
    return is_here(request.remote, request.headers)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
