"""The debug paths as others see them: from another address, through a proxy, from a web page, with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from controlplane.lab.client import Client
from controlplane.telemetry.http import Monitoring
from tests.support.plane import client
from tests.support.trust import Trusting, run

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
