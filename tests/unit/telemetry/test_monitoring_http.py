"""The monitoring server over a real socket: paths, errors, who may look, long answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import aiohttp
import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.telemetry import http
from controlplane.telemetry.http import Base, Monitoring, Response, Route


def base(reason: str = "") -> Base:
    return Base(lambda: reason, lambda: ("text/plain; version=0.0.4", b"a 1\n"), lambda: {"version": "1.2.3"})


def route(path: str, answer: Any) -> Route:
    return Route(path, f"shows {path}", answer if callable(answer) else lambda query: answer)


def serve(
    monitoring: Monitoring,
    client: Callable[[aiohttp.ClientSession, str], Awaitable[None]],
    host: str = "127.0.0.1",
) -> None:
    async def scenario() -> None:
        bound, port = await monitoring.start(host, 0)
        try:
            async with aiohttp.ClientSession() as session:
                await client(session, f"http://{bound}:{port}")
        finally:
            await monitoring.stop()

    asyncio.run(scenario())


def get(monitoring: Monitoring, path: str, method: str = "GET") -> tuple[int, str, str]:
    found: list[tuple[int, str, str]] = []

    async def client(session: aiohttp.ClientSession, url: str) -> None:
        async with session.request(method, url + path) as answer:
            found.append((answer.status, answer.headers.get("Content-Type", ""), await answer.text()))

    serve(monitoring, client)
    return found[0]


def test_ready_says_why_not() -> None:
    assert get(Monitoring(base()), "/ready")[::2] == (200, "ready\n")
    assert get(Monitoring(base("sources: waiting for directory")), "/ready")[::2] == (
        503,
        "sources: waiting for directory\n",
    )


def test_metrics_and_version() -> None:
    assert get(Monitoring(base()), "/metrics") == (200, "text/plain; version=0.0.4", "a 1\n")
    status, content_type, body = get(Monitoring(base()), "/version")
    assert (status, content_type, json.loads(body)) == (200, "application/json", {"version": "1.2.3"})


def test_the_index_lists_every_path_with_what_it_shows() -> None:
    monitoring = Monitoring(base(), [route("/debug/syncz", [])])
    for path in ("/debug", "/debug/", "/debug/list"):
        status, _, body = get(monitoring, path)
        assert status == 200
        assert list(json.loads(body)) == ["/debug/syncz", "/metrics", "/ready", "/version"]
        assert json.loads(body)["/debug/syncz"] == "shows /debug/syncz"


def test_a_view_gets_the_query() -> None:
    def view(query: Mapping[str, str]) -> Any:
        return dict(query)

    _, _, body = get(Monitoring(base(), [route("/debug/x", view)]), "/debug/x?proxyID=a%20b&n=1&n=2")
    assert json.loads(body) == {"proxyID": "a b", "n": "1"}


def test_a_view_may_answer_with_a_status() -> None:
    missing = Response(404, "text/plain", b"no such proxy")
    assert get(Monitoring(base(), [route("/debug/x", missing)]), "/debug/x")[::2] == (404, "no such proxy")


@pytest.mark.parametrize(
    "value", [[], {}, [1, "a"], {"a": [1, {"b": [None]}], "c": {}}, "text", None, [[[]]], {"é": ["\u2028"]}]
)
def test_whatever_json_holds_arrives(value: Any) -> None:
    assert json.loads(get(Monitoring(base(), [route("/debug/x", value)]), "/debug/x")[2]) == value


def test_a_long_list_is_made_while_it_is_read() -> None:
    """Items are taken one by one, with turns of the loop between: others are served meanwhile."""
    made = 0

    def items(query: Mapping[str, str]) -> Iterator[str]:
        nonlocal made
        for _ in range(2000):
            made += 1
            yield "x" * 10_000

    async def client(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url + "/debug/long") as answer:
            assert answer.status == 200
            await answer.content.readexactly(100_000)
            assert 0 < made < 2000
            async with session.get(url + "/ready") as other:
                assert other.status == 200
            rest = await answer.read()
        assert len(rest) > 19_000_000
        assert made == 2000

    serve(Monitoring(base(), [Route("/debug/long", "long", items)]), client)


def test_a_failing_view_is_a_500_with_the_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def view(query: Mapping[str, str]) -> Any:
        raise KeyError("secret detail")

    monitoring = Monitoring(base(), [route("/debug/x", view)])
    status, content_type, body = get(monitoring, "/debug/x")
    assert (status, content_type) == (500, "application/json; charset=utf-8")
    assert json.loads(body) == {"error": "/debug/x failed with KeyError: the log has the traceback"}
    assert "secret detail" in caplog.text
    assert get(monitoring, "/ready")[0] == 200


@pytest.mark.parametrize("value", [object(), [float("nan")], {"a": {1: b""}}])
def test_what_json_cannot_hold_is_a_500(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert get(Monitoring(base(), [route("/debug/x", value)]), "/debug/x")[0] == 500
    assert "Traceback" in caplog.text


def test_a_view_that_fails_late_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def view(query: Mapping[str, str]) -> Iterator[str]:
        for _ in range(20):
            yield "x" * 50_000
        raise KeyError("late")

    async def client(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url + "/debug/x") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        async with session.get(url + "/ready") as other:
            assert other.status == 200

    serve(Monitoring(base(), [Route("/debug/x", "x", view)]), client)
    assert "KeyError: 'late'" in caplog.text


def test_a_client_that_leaves_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    def view(query: Mapping[str, str]) -> Iterator[str]:
        for _ in range(2000):
            yield "x" * 50_000

    async def client(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url + "/debug/x") as answer:
            await answer.content.readexactly(1000)
            answer.close()
        async with session.get(url + "/ready") as other:
            assert other.status == 200

    serve(Monitoring(base(), [Route("/debug/x", "x", view)]), client)
    assert caplog.text == ""


def test_other_paths_and_methods() -> None:
    monitoring = Monitoring(base())
    status, _, body = get(monitoring, "/nothing")
    assert (status, "see /debug" in body) == (404, True)
    assert get(monitoring, "/debugger")[0] == 404
    assert get(monitoring, "/ready", "POST")[0] == 405
    assert get(monitoring, "/ready", "HEAD")[::2] == (200, "")
    long = Monitoring(base(), [route("/debug/x", ["x" * 100_000] * 3)])
    assert get(long, "/debug/x", "HEAD")[::2] == (200, "")


def test_debug_paths_refuse_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_is_here", lambda request: False)
    views = [route("/debug/x", [])]
    closed, opened = Monitoring(base(), views), Monitoring(base(), views, remote_debug=True)
    for path in ("/debug", "/debug/x", "/debug/unknown"):
        assert get(closed, path)[0] == 403
    for path in ("/ready", "/metrics", "/version"):
        assert get(closed, path)[0] == 200
    assert get(opened, "/debug/x")[0] == 200


def test_the_actual_port_is_told_and_freed() -> None:
    async def scenario() -> None:
        monitoring = Monitoring(base())
        host, port = await monitoring.start("127.0.0.1", 0)
        assert (host, port > 0) == ("127.0.0.1", True)
        with pytest.raises(EnvironmentUnfit, match=f"127.0.0.1:{port}.*--monitoring-addr"):
            await Monitoring(base()).start("127.0.0.1", port)
        await monitoring.stop()
        await monitoring.stop()
        again = Monitoring(base())
        assert await again.start("127.0.0.1", port) == (host, port)
        await again.stop()

    asyncio.run(scenario())


def test_a_stop_does_not_wait_for_a_slow_reader() -> None:
    def view(query: Mapping[str, str]) -> Iterator[str]:
        while True:
            yield "x" * 50_000

    async def scenario() -> None:
        monitoring = Monitoring(base(), [Route("/debug/x", "x", view)])
        host, port = await monitoring.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /debug/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readexactly(1000)
        await asyncio.wait_for(monitoring.stop(), timeout=5)
        writer.close()

    asyncio.run(scenario())


def acting() -> tuple[Monitoring, list[Mapping[str, str]]]:
    """A path that does something; and what it was told to do."""
    done: list[Mapping[str, str]] = []

    def act(query: Mapping[str, str]) -> str:
        done.append(query)
        return "done"

    return Monitoring(base(), [Route("/debug/x", "x", lambda query: "read", act)], remote_debug=True), done


def test_a_post_acts_and_reading_does_not() -> None:
    monitoring, done = acting()
    assert get(monitoring, "/debug/x?do=it")[2] == '"read"\n'
    assert get(monitoring, "/debug/x?do=it", "HEAD")[0] == 200
    assert done == []
    assert get(monitoring, "/debug/x?do=it", "POST")[::2] == (200, '"done"\n')
    assert done == [{"do": "it"}]
    assert get(monitoring, "/debug/x", "PUT")[0] == 405


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "10.0.0.9"},
    ],
)
def test_only_a_command_on_this_machine_acts(header: dict[str, str]) -> None:
    monitoring, done = acting()
    found: list[int] = []

    async def client(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(f"{url}/debug/x", headers=header) as answer:
            found.append(answer.status)

    # Even where everybody may read.
    serve(monitoring, client)
    assert (found, done) == ([403], [])
