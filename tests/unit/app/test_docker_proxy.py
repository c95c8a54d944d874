"""The filter in front of a Docker that is played: what comes through, and what while there is no Docker."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from controlplane.app.docker_proxy import DockerProxy, bound
from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.parse import address
from controlplane.sources.docker import api

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
START = {
    "Type": "container",
    "Action": "start",
    "Actor": {"ID": "ab", "Attributes": {"image": "x"}},
    "time": 1,
}


@asynccontextmanager
async def played(socket: Path, answer: Answer) -> AsyncIterator[None]:
    """A Docker at a socket that answers everything with one function."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.0)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def filtered(folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the filter in front of `folder/docker`."""
    listen = folder / "made" / "filtered"
    async with (
        DockerProxy(address(f"unix:{folder}/docker")).serving(bound(listen)),
        aiohttp.ClientSession(base_url="http://x", connector=aiohttp.UnixConnector(str(listen))) as client,
    ):
        yield client


def says(body: str, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=body, status=status, headers=named)

    return answer


def test_docker_answers_through_it_in_short(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.method, request.path_qs))
        return web.json_response({"Id": "ab", "Config": {"Env": ["A=b"], "Labels": {"app": "web"}}})

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            found = await client.get("/v1.41/containers/ab/json", params={"size": "1"})
            assert (found.status, await found.json()) == (
                200,
                {"Id": "ab", "Config": {"Labels": {"app": "web"}}},
            )

    asyncio.run(main())
    assert asked == [("GET", "/v1.41/containers/ab/json")]


def test_a_ping_tells_the_version_and_the_time(tmp_path: Path) -> None:
    date = "Fri, 20 Nov 2026 15:40:00 GMT"

    async def main() -> None:
        answer = says("OK", Api_Version="1.41", Date=date, Swarm="x")
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            found = await client.get("/_ping")
            assert (found.status, await found.text()) == (200, "OK")
            assert (found.headers["Api-Version"], found.headers["Date"]) == ("1.41", date)
            assert "Swarm" not in found.headers

    asyncio.run(main())


def test_what_does_not_pass_is_refused_and_never_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response()

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            for method, path in (("POST", "/containers/create"), ("GET", "/images/json")):
                found = await client.request(method, path, json={"Image": "x"} if method == "POST" else None)
                assert found.status == 403
                assert (await found.json())["message"].startswith("mini-istiod docker-proxy: ")

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert asked == []
    assert [one.__dict__["path"] for one in caplog.records] == ["/containers/create", "/images/json"]


def test_a_failure_of_docker_keeps_its_status_and_message(tmp_path: Path) -> None:
    async def main() -> None:
        answer = says('{"message": "No such container: x", "env": "secret"}', 404)
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            found = await client.get("/containers/x/json")
            message = "mini-istiod docker-proxy: No such container: x"
            assert (found.status, await found.json()) == (404, {"message": message})

    asyncio.run(main())


@pytest.mark.parametrize("body", ["no JSON", '["half', pytest.param("[" * 100_000, id="deep")])
def test_an_answer_that_is_no_json_is_a_bad_gateway(tmp_path: Path, body: str) -> None:
    async def main() -> None:
        async with played(tmp_path / "docker", says(body)), filtered(tmp_path) as client:
            assert (await client.get("/containers/json")).status == 502

    asyncio.run(main())


def test_too_much_is_a_bad_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_BYTES", 4096)

    async def main() -> None:
        async with played(tmp_path / "docker", says(json.dumps("x" * 5000))), filtered(tmp_path) as client:
            found = await client.get("/containers/json")
            assert found.status == 502
            assert "more than 4096 bytes" in (await found.json())["message"]
            with pytest.raises(aiohttp.ClientError):
                await (await client.get("/events")).read()

    asyncio.run(main())


def test_an_outage_is_told_once_and_so_is_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with filtered(tmp_path) as client:
            for _ in range(2):
                found = await client.get("/_ping")
                assert found.status == 502
                assert "Docker does not answer: No such file or directory" in (await found.json())["message"]
            async with played(tmp_path / "docker", says("OK")):
                assert (await client.get("/_ping")).status == 200

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    told = [one.getMessage() for one in caplog.records if one.name.endswith("docker_proxy")]
    assert told == ["Docker does not answer: No such file or directory", "Docker answers again"]


def test_events_come_as_they_happen_and_cut_down(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await gate.wait()
        line = json.dumps(START).encode()
        # In pieces, as they may come, and one that is left out between.
        for piece in (line[:20], line[20:] + b"\n", b'{"Type": "image"}\n', line + b"\n"):
            await stream.write(piece)
            await asyncio.sleep(0)
        return stream

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            found = await client.get("/v1.41/events", params={"since": "1"})
            assert found.status == 200  # before anything has happened
            gate.set()
            lines = [json.loads(line) async for line in found.content]
            left = {**START, "Actor": {"ID": "ab", "Attributes": {}}}
            assert lines == [left, left]

    asyncio.run(main())


def test_streams_that_say_nothing_leave_room_for_questions(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/events":
            return web.json_response([])
        stream = web.StreamResponse()
        await stream.prepare(request)
        await over.wait()
        return stream

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client, asyncio.timeout(20):
            streams = [await client.get("/events") for _ in range(70)]
            assert {one.status for one in streams} == {200, 429}
            assert (await client.get("/containers/json")).status == 200
            for one in streams:
                one.close()
            # Their room is there again, as soon as it is seen that they went.
            while (again := await client.get("/events")).status == 429:
                await asyncio.sleep(0.01)
            assert again.status == 200
            again.close()
            over.set()

    asyncio.run(main())


def test_nothing_else_is_asked_because_docker_says_where(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/images/json")

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            assert (await client.get("/containers/json")).status == 502

    asyncio.run(main())
    assert asked == ["/containers/json"]


def test_who_hangs_up_in_a_silence_is_not_listened_for_any_more(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while request.transport is not None and not request.transport.is_closing():
                await asyncio.sleep(0.01)
        finally:
            ended.set()
        return stream

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            found = await client.get("/events")
            found.close()
            async with asyncio.timeout(10):
                await ended.wait()

    asyncio.run(main())


def test_events_break_off_when_docker_does(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        assert request.transport is not None
        request.transport.abort()
        return stream

    async def main() -> None:
        async with played(tmp_path / "docker", answer), filtered(tmp_path) as client:
            with pytest.raises(aiohttp.ClientError):
                await (await client.get("/events")).read()

    asyncio.run(main())


def test_the_socket_is_for_other_users_and_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "socket"
    bound(path).close()
    with bound(path) as listening:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        listening.listen()
        with pytest.raises(EnvironmentUnfit, match="another process serves on unix:"):
            bound(path)


def test_a_socket_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        EnvironmentUnfit, match=r"--listen: cannot serve on unix:.*(File exists|Not a directory)"
    ):
        bound(tmp_path / "file" / "socket")
