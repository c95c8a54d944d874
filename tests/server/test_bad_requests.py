"""Clients that break the rules: a clear status or no reaction, as the protocol says; nobody else notices."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.envoy.types import CLUSTER, LISTENER
from controlplane.lab.client import Client
from tests.support import objects as a
from tests.support.files import MeshFiles
from tests.support.plane import Served, client, serving_files
from tests.support.raw import METHODS, answer, raw, request, say, status
from tests.support.stage import Stage, staged

BOTH = tuple(METHODS)


@asynccontextmanager
async def mesh(directory: Path) -> AsyncIterator[Served]:
    files = MeshFiles(directory / "config")
    files.put(a.service("web"))
    flags = ("--max-request-bytes", "64KiB")
    async with serving_files(files, directory / "xds.sock", *flags) as served:
        await served.connect(client("bystander"), "bystander")
        await served.quiet()
        yield served


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Served]]:
    with staged(mesh(tmp_path_factory.mktemp("requests"))) as found:
        yield found


@pytest.fixture(autouse=True)
def _nobody_else_notices(stage: Stage[Served], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test an edit arrives at a client that was connected all the time, and nothing crashed."""
    bystander: Client = stage.subject.clients["bystander"]
    before = bystander.views()
    yield
    count = len(bystander.log)

    async def edit() -> None:
        stage.subject.files.put(
            a.virtual_service("edited", "web.default.svc.cluster.local", timeout=f"{count}s")
        )
        await stage.subject.quiet()

    stage.play(edit())
    assert bystander.views() != before
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": None}, "must carry the node"),
        ({"id": ""}, "no id; expected <type>~<ip>~"),
        ({"id": "nonsense"}, "'nonsense'"),
        ({"id": "sidecar~no-address~web-1.default~default.svc.cluster.local"}, "IP address"),
        ({"id": "ztunnel~10.0.0.9~web-1.default~default.svc.cluster.local"}, "ztunnel"),
        ({"metadata": {"LABELS": 7}}, "LABELS"),
        ({"metadata": {"INTERCEPTION_MODE": "MAGIC"}}, "INTERCEPTION_MODE"),
    ],
)
def test_a_stream_that_begins_badly_is_told_why(
    stage: Stage[Served], protocol: str, fields: dict[str, Any], said: str
) -> None:
    async def scene() -> None:
        async with raw(stage.subject.address, protocol) as call:
            await call.write(request(protocol, **fields))
            code, details = await status(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert said in details

    stage.play(scene())


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("when", ["first", "later"])
def test_bytes_that_are_no_request(stage: Stage[Served], protocol: str, when: str) -> None:
    async def scene() -> None:
        async with raw(stage.subject.address, protocol) as call:
            if when == "later":
                await call.write(request(protocol))
                await call.read()
            await call.write(b"\xff\xff\xff not a request")
            code, details = await status(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "not a discovery request" in details

    stage.play(scene())


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("when", ["first", "later"])
def test_an_oversized_request(stage: Stage[Served], protocol: str, when: str) -> None:
    async def scene() -> None:
        async with raw(stage.subject.address, protocol) as call:
            if when == "later":
                await call.write(request(protocol))
                await call.read()
            await say(call, request(protocol, names=["n" * 1000 for _ in range(70)]))
            code, _ = await status(call)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED

    stage.play(scene())


@pytest.mark.parametrize("protocol", BOTH)
def test_an_unknown_type_is_ignored(stage: Stage[Served], protocol: str) -> None:
    async def scene() -> None:
        async with raw(stage.subject.address, protocol) as call:
            await call.write(request(protocol, "type.googleapis.com/no.such.Type", names=["x"]))
            await call.write(request(protocol, id=None))
            found = answer(protocol, await call.read())
            assert found.type_url == CLUSTER
            assert len(found.resources) > 1

    stage.play(scene())


@pytest.mark.parametrize("protocol", BOTH)
def test_a_garbage_nonce_is_ignored(stage: Stage[Served], protocol: str) -> None:
    async def scene() -> None:
        async with raw(stage.subject.address, protocol) as call:
            # On the first request of a type it is that of an earlier stream: such a client is served.
            await call.write(request(protocol, nonce="of another stream"))
            clusters = answer(protocol, await call.read())
            assert clusters.type_url == CLUSTER
            # Later it is stale: no answer, and no acknowledgement either.
            await call.write(request(protocol, nonce="garbage", id=None))
            await call.write(request(protocol, LISTENER, id=None))
            assert answer(protocol, await call.read()).type_url == LISTENER
            (stream,) = (
                one for one in stage.subject.app.xds.streams if one.connection.proxy.id == "web-1.default"
            )
            (unanswered,) = stream.session.subscriptions[CLUSTER].pending
            assert unanswered.nonce == clusters.nonce

    stage.play(scene())


@pytest.mark.parametrize("protocol", BOTH)
def test_a_client_that_hangs_up_at_once(stage: Stage[Served], protocol: str) -> None:
    async def scene() -> None:
        for _ in range(20):
            async with raw(stage.subject.address, protocol) as call:
                await call.write(request(protocol))
        async with raw(stage.subject.address, protocol) as call:
            await call.done_writing()
            assert (await status(call))[0] is grpc.StatusCode.OK

    stage.play(scene())
