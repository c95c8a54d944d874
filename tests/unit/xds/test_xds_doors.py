"""Doors with TLS: what is shown at them, and who does not get through the handshake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from controlplane.base.clock import SystemClock
from controlplane.base.errors import EnvironmentUnfit, Unauthenticated
from controlplane.base.parse import Address
from controlplane.ca.authority import Authority
from controlplane.ca.signer import self_signed
from controlplane.model.caller import Caller, Door, Presented
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.xds.caller import Anonymous
from controlplane.xds.doors import Access
from controlplane.xds.options import XdsOptions
from controlplane.xds.server import XdsServer
from tests.unit.xds.wire import CHANNEL, Client, Watcher, WorldViews
from tests.unit.xds.world import DELTA, World

LOCAL = Address("127.0.0.1", 0)


class Shown:
    """A certificate for localhost, and the root that says so."""

    def __init__(self) -> None:
        signer = self_signed(time.time(), 3600.0)
        self.authority = Authority(signer, (signer.root,), clock=SystemClock())
        self.certified: Certified = self.authority.issue((), dns=("localhost",))

    def serving(self) -> tuple[Certified, TrustBundle]:
        return self.certified, self.authority.bundle


SHOWN = Shown()


class Everybody(Anonymous):
    """Lets everybody in, after having looked `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Presented] = []
        self.open = True

    async def identify(self, presented: Presented) -> Caller:
        self.seen.append(presented)
        if not self.open:
            raise Unauthenticated("missing", "nobody is let in")
        return await super().identify(presented)


@asynccontextmanager
async def serving(
    options: XdsOptions | None = None, authenticator: Everybody | None = None
) -> AsyncIterator[tuple[XdsServer, Watcher]]:
    world, watcher = World(), Watcher()
    world.put("cds", "a", "1")
    access = Access(authenticator or Everybody(), (LOCAL,), (LOCAL,), SHOWN.serving)
    server = XdsServer(
        WorldViews(world),
        [],
        options or XdsOptions(),
        clock=SystemClock(),
        observer=watcher,
        access=access,
    )
    await server.start()
    try:
        yield server, watcher
    finally:
        await server.stop()


def secure(server: XdsServer, door: Door) -> grpc.aio.Channel:
    shown = SHOWN.authority.issue(("spiffe://cluster.local/ns/a/sa/b",))
    pair = (shown.key, shown.chain) if door is Door.CERTIFICATE else (None, None)
    credentials = grpc.ssl_channel_credentials(b"".join(SHOWN.authority.bundle.roots), *pair)
    named = (*CHANNEL, ("grpc.ssl_target_name_override", "localhost"))
    return grpc.aio.secure_channel(str(server.doors.addresses[door][0]), credentials, options=named)


@pytest.mark.parametrize("door", [Door.TOKEN, Door.CERTIFICATE])
def test_each_door_tells_which_it_is_and_what_was_shown(door: Door) -> None:
    async def test() -> None:
        everybody = Everybody()
        async with serving(authenticator=everybody) as (server, _), secure(server, door) as channel:
            client = Client(channel, DELTA)
            await client.ask("cds")
            assert (await client.read()).bodies == {"a": "1"}
            (seen,) = everybody.seen
            assert (seen.door, seen.private, bool(seen.certificate)) == (door, True, door is Door.CERTIFICATE)
            assert server.addresses == ()

    asyncio.run(test())


@pytest.mark.parametrize(
    "hello", [b"", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /"]
)
def test_who_does_not_get_through_the_handshake_in_time_is_hung_up_on(hello: bytes) -> None:
    async def test() -> None:
        async with serving(XdsOptions(handshake_timeout=0.2)) as (server, watcher):
            address = server.doors.addresses[Door.TOKEN][0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(hello)
            async with asyncio.timeout(10):
                while await reader.read(1000):
                    pass
            writer.close()
            assert watcher.told == []

    asyncio.run(test())


def test_those_who_are_turned_away_take_no_proxys_place() -> None:
    async def test() -> None:
        everybody = Everybody()
        options = XdsOptions(streams_per_second=1.0, admission_wait=0.5)
        async with serving(options, everybody) as (server, _), secure(server, Door.TOKEN) as channel:
            everybody.open = False
            for _ in range(20):
                stranger = Client(channel, DELTA)
                assert (await stranger.status())[0] is grpc.StatusCode.UNAUTHENTICATED
            everybody.open = True
            client = Client(channel, DELTA)
            await client.ask("cds")
            assert (await client.read()).bodies == {"a": "1"}

    asyncio.run(test())


def test_a_door_without_a_certificate_is_not_opened() -> None:
    async def test() -> None:
        access = Access(token=(LOCAL,))
        server = XdsServer(WorldViews(World()), [], XdsOptions(), clock=SystemClock(), access=access)
        with pytest.raises(EnvironmentUnfit, match="no certificate"):
            await server.start()

    asyncio.run(test())


def test_an_address_that_is_taken_is_named() -> None:
    async def test() -> None:
        async with serving() as (server, _):
            taken = server.doors.addresses[Door.TOKEN][0]
            access = Access(token=(taken,), serving=SHOWN.serving)
            other = XdsServer(WorldViews(World()), [], XdsOptions(), clock=SystemClock(), access=access)
            with pytest.raises(EnvironmentUnfit, match=str(taken)):
                await other.start()

    asyncio.run(test())
