"""Questions to Docker over a Unix socket: what is asked, what is answered, and every way to fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controlplane.base.clock import FakeClock
from controlplane.base.parse import Address, address
from controlplane.sources.docker import api
from controlplane.sources.docker.api import DockerFailed, HttpDocker, spoken
from controlplane.sources.docker.event import FILTERS

ID = "6e82223adec55bebf59f772073298bf0a16d18ccb7d26577d29eaa5fde9b1e11"
NOW = 1_795_189_200.0
DEEP = "[" * 100_000 + "]" * 100_000
DATE = "Fri, 20 Nov 2026 15:40:00 GMT"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Daemon:
    """A server at a socket; `answers` by path, `asked` what was asked for."""

    def __init__(self, socket: Path) -> None:
        self.address = address(f"unix:{socket}")
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = asyncio.Event()
        self._socket = socket

    async def __aenter__(self) -> Daemon:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "GET"
        self.asked.append((request.path, dict(request.query)))
        return await self.answers[request.path](request)

    def says(self, path: str, value: Any, status: int = 200, **headers: str) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        named = {name.replace("_", "-"): header for name, header in headers.items()}

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(text=text, status=status, headers=named)

        self.answers[path] = answer

    async def stays_silent(self, request: web.Request) -> web.StreamResponse:
        """An answer that begins, and does not go on."""
        response = web.StreamResponse()
        await response.prepare(request)
        await self.over.wait()
        return response

    def streams(self, path: str, parts: Sequence[bytes], *, breaks: bool = False) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for part in parts:
                await response.write(part)
                await asyncio.sleep(0.005)
            if breaks and request.transport is not None:
                request.transport.abort()
            return response

        self.answers[path] = answer


def asking(socket: Path, test: Callable[[Daemon, HttpDocker], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), Daemon(socket) as daemon:
            docker = HttpDocker(daemon.address, FakeClock(NOW))
            try:
                await test(daemon, docker)
            finally:
                await docker.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("offered", "version"),
    [
        ("1.41", "/v1.41"),
        ("1.24", "/v1.24"),
        ("1.52", f"/v{api.NEWEST[0]}.{api.NEWEST[1]}"),
        ("2.0", f"/v{api.NEWEST[0]}.{api.NEWEST[1]}"),
        ("", ""),
        ("new", ""),
        ("1.x", ""),
    ],
)
def test_the_lower_version_of_both_sides_is_spoken(offered: str, version: str) -> None:
    assert spoken(offered) == version


def test_questions_and_answers(tmp_path: Path) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.says("/_ping", "OK", Api_Version="1.41", Date=DATE)
        daemon.says("/v1.41/containers/json", [{"Id": ID}])
        daemon.says(f"/v1.41/containers/{ID}/json", {"Id": ID})
        daemon.says("/v1.41/containers/gone/json", {"message": "No such container"}, 404)
        assert await docker.ping() == ("/v1.41", 0.0)
        assert await docker.containers() == [{"Id": ID}]
        assert await docker.inspect(ID) == {"Id": ID}
        assert await docker.inspect("gone") is None
        assert daemon.asked[1] == ("/v1.41/containers/json", {"all": "1"})

    asking(tmp_path / "docker.sock", test)


@pytest.mark.parametrize(
    ("date", "ahead"),
    [(DATE, 0.0), ("Fri, 20 Nov 2026 15:39:59 GMT", 0.0), ("Fri, 20 Nov 2026 16:40:00 GMT", 3600.5)],
)
def test_a_clock_that_is_another_is_told_from_one_that_is_not(
    tmp_path: Path, date: str, ahead: float
) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.says("/_ping", "OK", Date=date)
        assert await docker.ping() == ("", ahead)

    asking(tmp_path / "docker.sock", test)


def test_events_come_as_they_come_and_whole(tmp_path: Path) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        # Since Docker 29 there may be a separator before each (RFC 7464).
        parts = (b'{"a":1}\n{"a":2}\n{"a', b'":3}\n', b'\x1e{"a":4}\r\n\n[5]\n', b'{"a":6}')
        daemon.streams("/events", parts)
        async with aclosing(docker.events(NOW - 2.0, NOW + 30.0)) as stream:
            found = [list(batch) async for batch in stream]
        assert found[0] == []
        assert [one for batch in found for one in batch] == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}, {}]
        (path, query) = daemon.asked[0]
        assert path == "/events"
        assert query == {"since": f"{NOW - 2:.6f}", "until": f"{NOW + 30:.6f}", "filters": FILTERS}

    asking(tmp_path / "docker.sock", test)


@pytest.mark.parametrize(
    ("path", "status", "text", "reason"),
    [
        ("/_ping", 502, "secret", "answers 502 to a ping"),
        ("/containers/json", 500, "secret", "answers 500 to GET /containers/json"),
        ("/containers/json", 200, "{secret", "answers with what is no JSON"),
        pytest.param("/containers/json", 200, DEEP, "answers with what is no JSON", id="deep"),
        pytest.param("/events", 200, f"{DEEP}\n", "answers with what is no JSON", id="deep event"),
        ("/containers/json", 307, "secret", "answers 307 to GET /containers/json"),
        ("/containers/json", 200, '"secret"', "answers the list of containers with something else"),
        ("/containers/json", 200, '["secret"]', "answers the list of containers with something else"),
        ("/containers/x/json", 200, "[]", "answers for a container with something else"),
        ("/containers/x/json", 403, "secret", "answers 403 to GET /containers/x/json"),
        ("/events", 400, "secret", "answers 400 where its events are asked for"),
    ],
)
def test_what_is_no_answer_fails_in_words_without_its_content(
    tmp_path: Path, path: str, status: int, text: str, reason: str
) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.says(path, text, status, Location="/images/json")
        with pytest.raises(DockerFailed, match=rf"^{reason}$") as failed:
            await _ask(docker, path)
        assert not failed.value.away
        assert [asked for asked, _ in daemon.asked] == [path]

    asking(tmp_path / "docker.sock", test)


async def _ask(docker: HttpDocker, path: str) -> None:
    if path == "/_ping":
        await docker.ping()
    elif path == "/events":
        async with aclosing(docker.events(NOW, NOW + 30.0)) as stream:
            async for _ in stream:
                pass
    elif path == "/containers/json":
        await docker.containers()
    else:
        await docker.inspect("x")


def test_who_is_away_is_told_from_who_does_not_like_the_question(tmp_path: Path) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        for status, away in ((500, False), (403, False), (502, True), (503, True)):
            daemon.says("/containers/x/json", "", status)
            with pytest.raises(DockerFailed) as failed:
                await docker.inspect("x")
            assert failed.value.away == away

    asking(tmp_path / "docker.sock", test)
    with pytest.raises(DockerFailed) as failed:
        asyncio.run(_nobody(tmp_path / "none.sock"))
    assert failed.value.away


def test_too_much_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_BYTES", 4096)

    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.says("/containers/json", [{"Id": "x" * 5000}])
        with pytest.raises(DockerFailed, match="more than 4096 bytes"):
            await docker.containers()
        daemon.streams("/events", [b"x" * 5000])
        with pytest.raises(DockerFailed, match="event without end"):
            await _ask(docker, "/events")

    asking(tmp_path / "docker.sock", test)


def test_silence_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that does not come, and a stream of events that outlives the end that Docker keeps."""
    monkeypatch.setattr(api, "ANSWER_WITHIN", 0.05)
    monkeypatch.setattr(api, "OVERTIME", 0.05)

    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.answers["/containers/json"] = daemon.answers["/events"] = daemon.stays_silent
        with pytest.raises(DockerFailed, match=r"^did not answer within 0.05 s$"):
            await docker.containers()
        with pytest.raises(DockerFailed, match=r"^did not answer within"):
            async with aclosing(docker.events(NOW - 60.0, NOW)) as stream:
                assert await anext(stream) == ()
                await anext(stream)

    asking(tmp_path / "docker.sock", test)


def test_a_deadline_that_passes_while_nobody_listens_strikes_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept: all that was due is due at once."""
    monkeypatch.setattr(api, "OVERTIME", 0.05)

    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.answers["/events"] = daemon.stays_silent
        async with aclosing(docker.events(NOW, NOW)) as stream:
            assert await anext(stream) == ()
            await asyncio.sleep(0.1)
            with pytest.raises(DockerFailed, match=r"^did not answer within"):
                await anext(stream)

    asking(tmp_path / "docker.sock", test)


def test_a_stream_that_breaks_off(tmp_path: Path) -> None:
    async def test(daemon: Daemon, docker: HttpDocker) -> None:
        daemon.streams("/events", [b'{"a":1}\n'], breaks=True)
        with pytest.raises(DockerFailed, match=r"^broke off"):
            await _ask(docker, "/events")

    asking(tmp_path / "docker.sock", test)


def test_nobody_there(tmp_path: Path) -> None:
    async def reason(where: Address) -> str:
        docker = HttpDocker(where)
        try:
            with pytest.raises(DockerFailed) as failed:
                await docker.ping()
        finally:
            await docker.close()
        return str(failed.value)

    closed = tmp_path / "closed.sock"
    closed.touch()
    told = [
        asyncio.run(reason(address(f"unix:{tmp_path}/none.sock"))),
        asyncio.run(reason(address(f"unix:{closed}"))),
        asyncio.run(reason(address("127.0.0.1:1"))),
    ]
    assert told[0] == "cannot be reached (No such file or directory)"
    assert told[1:] == ["cannot be reached (Connection refused)"] * 2


async def _nobody(socket: Path) -> None:
    docker = HttpDocker(address(f"unix:{socket}"))
    try:
        await docker.inspect("x")
    finally:
        await docker.close()
