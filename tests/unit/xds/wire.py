"""A gRPC client of the aggregated service, raw bytes both ways, and a server over a fake view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from controlplane.base.clock import SystemClock
from controlplane.base.parse import Address
from controlplane.envoy import pb
from controlplane.envoy.types import BY_SHORT
from controlplane.model.proxy import Proxy
from controlplane.xds.observer import PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.server import SERVICE, XdsServer
from tests.support.raw import say
from tests.unit.xds.world import SOTW, Response, World, read

NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
METHODS = {"sotw": "StreamAggregatedResources", "delta": "DeltaAggregatedResources"}
LOOPBACK = Address("127.0.0.1", 0)


class WorldView:
    """A view of a world for one proxy."""

    def __init__(self, world: World, proxy: Proxy, views: WorldViews) -> None:
        self.proxy = proxy
        self.world = world
        self.views = views
        self.callback: Callable[[], None] | None = None

    @property
    def feeds(self):
        return self.world.feeds

    def on_change(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.world.callbacks.append(callback)

    def close(self) -> None:
        self.views.open_views.remove(self)
        if self.callback is not None:
            self.world.callbacks.remove(self.callback)


class WorldViews:
    """Views that all show one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ready = True
        self.open_views: list[WorldView] = []

    @property
    def revision(self) -> int:
        return self.world.revision

    def open(self, proxy: Proxy, *, incremental: bool = False) -> WorldView:
        view = WorldView(self.world, proxy, self)
        self.open_views.append(view)
        return view


class Client:
    """One stream of a client."""

    def __init__(self, channel: grpc.aio.Channel, variant) -> None:
        self.variant = variant
        self.call = channel.stream_stream(f"/{SERVICE}/{METHODS[variant.value]}")()
        self.nonces: dict[str, str] = {}
        self._introduced = False

    async def ask(
        self, short: str, *names: str, nonce: str = "", node: str | None = NODE, **more: Any
    ) -> None:
        url = BY_SHORT[short].url if short in BY_SHORT else short
        if self.variant is SOTW:
            message = pb.discovery.DiscoveryRequest(
                type_url=url, resource_names=names, response_nonce=nonce, version_info=more.pop("version", "")
            )
        else:
            message = pb.discovery.DeltaDiscoveryRequest(
                type_url=url,
                resource_names_subscribe=names,
                response_nonce=nonce,
                initial_resource_versions=more.pop("known", {}),
            )
        error = more.pop("error", None)
        if error is not None:
            message.error_detail.message = error
        assert not more
        if node is not None and not self._introduced:
            message.node.id = node
        self._introduced = True
        await say(self.call, message.SerializeToString())

    async def read(self, seconds: float = 20.0) -> Response:
        async with asyncio.timeout(seconds):
            data = await self.call.read()
        assert data is not grpc.aio.EOF, f"{await self.call.code()}: {await self.call.details()}"
        return read(self.variant, data)

    async def silent(self, seconds: float = 0.1) -> None:
        """Nothing comes for so long; the stream cannot be read any more afterwards."""
        try:
            async with asyncio.timeout(seconds):
                data = await self.call.read()
        except TimeoutError:
            return
        raise AssertionError(f"unexpected: {read(self.variant, data)}")

    async def ack(self, response: Response, *names: str, error: str | None = None) -> None:
        await self.ask(
            response.short, *(names if self.variant is SOTW else ()), nonce=response.nonce, error=error
        )

    async def status(self, seconds: float = 20.0) -> tuple[grpc.StatusCode, str]:
        """How the stream ended."""
        async with asyncio.timeout(seconds):
            with suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            return await self.call.code(), await self.call.details()


class Watcher(PushObserver):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._more = asyncio.Event()

    def _tell(self, *event: Any) -> None:
        self.told.append(event)
        self._more.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until something that was told makes `enough` true."""
        async with asyncio.timeout(20.0):
            while not enough():
                self._more.clear()
                await self._more.wait()

    def connected(self, connection) -> None:
        self._tell("connected", connection.id)

    def woken(self, connection, revision, at) -> None:
        self._tell("woken", revision)

    def planned(self, connection, push, took, at) -> None:
        self._tell("planned", push.spec.short, push.revision)

    def written(self, connection, push, at) -> None:
        self._tell("written", push.spec.short, push.size)

    def stalled(self, connection, push) -> None:
        self._tell("stalled", push.spec.short)

    def untouched(self, connection, revision, at) -> None:
        self._tell("untouched", revision)

    def acked(self, connection, verdict, at) -> None:
        self._tell("acked", verdict.push.spec.short)

    def nacked(self, connection, verdict, at) -> None:
        self._tell("nacked", verdict.push.spec.short, verdict.error, verdict.blamed)

    def expired(self, connection, type_name) -> None:
        self._tell("expired", type_name.rpartition(".")[2])

    def denied(self, denial) -> None:
        self._tell("denied", denial.cause, denial.reason)

    def gone(self, connection, at) -> None:
        self._tell("gone", connection.id)


@dataclass
class Rig:
    """A running server and a channel to it."""

    world: World
    views: WorldViews
    server: XdsServer
    channel: grpc.aio.Channel
    watcher: Watcher

    def client(self, variant) -> Client:
        return Client(self.channel, variant)

    async def until(self, *event: Any) -> None:
        """Wait until the watcher was told this (its beginning suffices)."""
        await self.watcher.until(lambda: any(told[: len(event)] == event for told in self.watcher.told))


CHANNEL = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))


@asynccontextmanager
async def serving(
    world: World, options: XdsOptions | None = None, address: Address = LOOPBACK
) -> AsyncIterator[Rig]:
    views, watcher = WorldViews(world), Watcher()
    server = XdsServer(views, [address], options or XdsOptions(), clock=SystemClock(), observer=watcher)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(str(server.addresses[0]), options=CHANNEL) as channel:
            yield Rig(world, views, server, channel, watcher)
    finally:
        await server.stop()
    assert views.open_views == []
    assert server.streams == ()
    assert len(server.ledgers) == 0


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test; nothing may be left running."""

    async def main() -> None:
        await test()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert [task for task in left if "xds" in repr(task.get_coro())] == []

    asyncio.run(main())
