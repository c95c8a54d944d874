"""What is asked for in vain is told once, when it has been missing for a while."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from controlplane.envoy.types import SECRET
from controlplane.xds.observer import Connection
from controlplane.xds.options import XdsOptions
from controlplane.xds.protocol import Request
from controlplane.xds.unserved import Unserved
from tests.unit.xds.test_xds_caller import Slowed
from tests.unit.xds.world import DELTA, PROXY, Peer, World


def names(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["names"] for record in caplog.records]


def test_a_name_is_told_when_it_is_missing_twice_and_then_never_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    peer, unserved = Peer(world, DELTA), Unserved("web-1.default-7")
    peer.ask("sds", "default", "kubernetes://shop")
    unserved.look(peer.session)
    assert names(caplog) == []
    world.put("sds", "default")
    peer.flush()
    unserved.look(peer.session)
    unserved.look(peer.session)
    unserved.look(peer.session, last=True)
    assert names(caplog) == ["'kubernetes://shop'"]


def test_what_was_asked_for_at_the_end_is_told_too_unless_it_was_on_its_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer(World(), DELTA)
    peer.ask("sds", "default", "ROOTCA", "web-2.default")
    Unserved("web-1.default-7").look(peer.session, last=True)
    assert names(caplog) == ["'web-2.default'"]


def test_a_certificate_that_does_not_come_is_told(caplog: pytest.LogCaptureFixture) -> None:
    peer, unserved = Peer(World(), DELTA), Unserved("web-1.default-7")
    peer.ask("sds", "default")
    unserved.look(peer.session)
    unserved.look(peer.session)
    assert names(caplog) == ["'default'"]


def test_a_stream_that_is_broken_off_while_it_ends_tells_what_it_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        slowed = Slowed(Connection("web-1", PROXY, DELTA, "test", 0.0), XdsOptions())
        asked = Request(SECRET, names=frozenset(["web-2.default"]))
        task = asyncio.create_task(slowed.stream.run(asked))
        await slowed.clock.advance(0.0)
        # The second time it waits for its own tasks to end.
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(test())
    assert names(caplog) == ["'web-2.default'"]


def test_ten_names_are_told_and_they_are_safe_to_print(caplog: pytest.LogCaptureFixture) -> None:
    peer, unserved = Peer(World(), DELTA), Unserved("web-1.default-7")
    peer.ask("sds", *(f"x\n{number:02}" for number in range(30)))
    peer.ask("eds", "nowhere")
    for _ in range(3):
        unserved.look(peer.session)
    (told,) = names(caplog)
    assert told.count(",") == 9 and "\n" not in told and "nowhere" not in told
