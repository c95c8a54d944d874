"""The debug paths as others see them: from another address, through a proxy, from a web page, with tokens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from controlplane.lab.client import Client
from controlplane.lab.fetch import Target, answers
from controlplane.telemetry.http import Monitoring
from tests.support.attacks import line, told
from tests.support.plane import client
from tests.support.stage import Stage, staged
from tests.support.trust import Trusting, run, trusting

ELSEWHERE = "127.0.0.6"
"""Traffic from there is passed on for others, so it stands for any other machine."""


class Visitor:
    """Asks for debug paths, and says with which status they are answered."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def get(self, path: str, token: str = "", **headers: str) -> int:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(self._base + path, headers=named) as response:
            text = await response.text()
            assert not token or token not in text
            return response.status


def base(monitoring: Monitoring) -> str:
    assert monitoring._runner is not None
    host, port = monitoring._runner.addresses[0]
    return f"http://{host}:{port}"


@asynccontextmanager
async def visitor(trust: Trusting, address: str = ELSEWHERE) -> AsyncIterator[Visitor]:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Visitor(session, base(trust.served.app.monitoring))


def token(trust: Trusting, namespace: str, **wish: str) -> str:
    return trust.token(namespace=namespace, name="looker", **wish)[0]


def test_this_machine_needs_nothing_and_others_a_token(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        async with visitor(trust, "127.0.0.1") as here, visitor(trust) as there:
            for path in ("/debug", "/debug/configz", "/debug/syncz", "/debug/problems"):
                assert await here.get(path) == 200, path
                assert await there.get(path) == 401, path
            for path in ("/ready", "/metrics", "/version"):
                assert await there.get(path) == 200, path
            assert await there.get("/debug/../debug/configz") == 401
            assert await there.get("/debug%2Fconfigz") in (401, 404)
            assert await there.get("//debug/configz") in (401, 404)
            # A page whose name leads to this machine, and a proxy that asks for others.
            assert await here.get("/debug/configz", Host="evil.example:15014") == 401
            assert await here.get("/debug/configz", X_Forwarded_For="10.0.0.7") == 401

    run(tmp_path, test)


def test_the_root_namespace_sees_everything_and_others_their_own_proxies(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        await trust.served.connect(client("web-1"))
        await trust.served.connect(other_client())
        await trust.served.quiet()
        async with visitor(trust) as there:
            root, own = token(trust, "istio-system", audience="debug"), token(trust, "default")
            for path in ("/debug/configz", "/debug/syncz", "/debug/config_dump?proxyID=web-1.default"):
                assert await there.get(path, root) == 200, path
            assert await there.get("/debug/config_dump?proxyID=web-1.default", own) == 200
            for path in (
                "/debug/config_dump?proxyID=db-1.other",
                "/debug/config_dump?proxyID=nobody.default",
                "/debug/config_dump",
                "/debug/configz",
                "/debug/syncz",
                "/debug",
            ):
                assert await there.get(path, own) == 403, path

    run(tmp_path, test)


def other_client() -> Client:
    return client("db-1", namespace="other", number=2)


def test_bad_tokens_open_nothing_and_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(trust: Trusting) -> None:
        good, account = trust.token(namespace="istio-system", name="admin", audience="debug")
        async with visitor(trust) as there:
            assert await there.get("/debug/configz", good) == 200
            trust.store.revoke(account.id, account.issued)
            bad = {
                good: "revoked",
                good[:-8] + "AAAAAAAA": "forged",
                token(trust, "istio-system", audience="kubernetes"): "audience",
                "e30.e30.AAAA": "issuer",
                "x": "malformed",
            }
            for text, cause in bad.items():
                before = trust.refusals(cause)
                assert await there.get("/debug/configz", text) == 401, cause
                assert trust.refusals(cause) == before + 1, cause
        assert all(
            text not in repr(vars(record)) for text in bad for record in caplog.records if len(text) > 20
        )

    run(tmp_path, test)


def test_a_post_from_elsewhere_changes_nothing_whatever_the_token(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        root = token(trust, "istio-system")
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))) as session,
            session.post(
                base(trust.served.app.monitoring) + "/debug/ca", headers={"Authorization": f"Bearer {root}"}
            ) as response,
        ):
            assert response.status == 403

    run(tmp_path, test)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Trusting]]:
    with staged(trusting(tmp_path_factory.mktemp("debug"))) as found:
        yield found


PATHS = {
    "everything": ("/debug/configz", {}),
    "who is connected": ("/debug/syncz", {}),
    "a proxy": ("/debug/config_dump?proxyID=web-1.default", {}),
    "the authority": ("/debug/ca", {}),
    "up and down again": ("/debug/../debug/configz", {}),
    "a letter escaped": ("/%64ebug/configz", {}),
    "that one is here": ("/debug/configz", {"Host": "127.0.0.1:15014"}),
    "that one is here, by name": ("/debug/configz", {"Host": "localhost"}),
    "that one is here, in a header": ("/debug/configz", {"X-Forwarded-For": "127.0.0.1"}),
    "another scheme": ("/debug/configz", {"Authorization": "Basic YWRtaW46YWRtaW4="}),
    "a long token": ("/debug/configz", {"Authorization": "Bearer " + "e30." * 2000}),
    "with a line in it": ("/debug/configz?proxyID=a%0Alevel=info", {}),
}


@pytest.mark.attack
@pytest.mark.parametrize("name", PATHS)
def test_somebody_elsewhere_is_shown_nothing(
    stage: Stage[Trusting], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, headers = PATHS[name]

    async def test() -> int:
        connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))
        url = URL(base(stage.subject.served.app.monitoring) + path, encoded=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers=headers) as response,
        ):
            return response.status

    assert stage.play(test()) == 401
    said = told(caplog, headers.get("Authorization", ""))
    assert said["peer"] == ELSEWHERE and "\n" not in said["path"]


@pytest.mark.attack
@pytest.mark.parametrize("path", ["/debug/ca?do=rotate", "/debug/ca?do=abandon", "/ready"])
def test_somebody_elsewhere_changes_nothing(
    stage: Stage[Trusting], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = stage.subject.token(namespace="istio-system", name="admin")[0]

    async def test() -> int:
        connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))
        url = base(stage.subject.served.app.monitoring) + path
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, headers={"Authorization": f"Bearer {token}"}) as response,
        ):
            return response.status

    assert stage.play(test()) == 403
    assert told(caplog, token)["peer"] == ELSEWHERE
    rotation = stage.subject.served.app.trust.rotation
    assert rotation is not None and rotation.progress().stage == "idle"


attack = pytest.mark.attack


async def ready(url: URL) -> bool:
    return await asyncio.to_thread(answers, Target(None, url.host or "", url.port or 0), "/ready", 5.0)


GOOD = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW = {
    "silence": b"",
    "half a line": b"GET /debug/conf",
    "a head without its end": b"GET /ready HTTP/1.1\r\nHost: localhost\r\n",
}


@pytest.mark.parametrize(
    ("before", "name"),
    [
        *(pytest.param(b"", name, id=f"first: {name}", marks=pytest.mark.attack) for name in SLOW),
        *(
            pytest.param(GOOD, name, id=f"second: {name}", marks=pytest.mark.attack)
            for name in list(SLOW)[1:]
        ),
        pytest.param(GOOD, "silence", id="a scraper that keeps its connection"),
    ],
)
def test_a_request_that_does_not_come_is_not_waited_for(
    stage: Stage[Trusting], name: str, before: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        monitoring = stage.subject.served.app.monitoring
        assert monitoring._runner is not None
        monitoring._runner.connections.silence = 0.2
        url = URL(base(monitoring))
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(before)
        if before:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(SLOW[name])
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        assert await ready(url)

    stage.play(test())
    if before and not SLOW[name]:
        # A scraper keeps its connection until it comes again: nothing to be told.
        assert line(caplog, "peer") == {}
        return
    assert told(caplog, has="peer")["reason"] == "its request did not come"


@pytest.mark.attack
def test_connections_without_number(stage: Stage[Trusting], caplog: pytest.LogCaptureFixture) -> None:
    """For one more that one is closed which waits longest; who asks something is answered."""

    async def test() -> None:
        monitoring = stage.subject.served.app.monitoring
        assert monitoring._runner is not None
        monitoring._runner.connections.silence = 30.0
        url = URL(base(monitoring))
        opened = [await asyncio.open_connection(url.host, url.port) for _ in range(600)]
        assert await ready(url)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await opened[0][0].read()
        for _, writer in opened:
            writer.close()

    stage.play(test())
    assert told(caplog, has="peer")["reason"] == "there are too many connections"
