"""The relay: what the two sides see of each fault, and that everybody recovers from all of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER
from controlplane.lab.client import Client, Protocol, channel
from controlplane.lab.faults import NACK_DETAIL, Faults, Message
from controlplane.lab.relay import SERVICE, Relay
from tests.support import raw
from tests.support.convergence import HOSTS, PROTOCOLS, WORKLOADS, difference
from tests.support.edits import Editor
from tests.support.files import MeshFiles
from tests.support.plane import client, serving_files
from tests.support.waiting import until

pytestmark = pytest.mark.whole

EDITS = 60
HARSH = Faults(
    delay=0.3,
    drop=0.03,
    drop_request=0.03,
    reorder=0.05,
    nack=0.05,
    slow_ack=0.3,
    cut=0.02,
    longest=0.02,
)


class Upstream:
    """A server that says what it is told to, and keeps what it hears."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.heard: list[Any] = []
        self.headers: dict[str, Any] = {}
        self._context: Any = None

    async def serve(self, _requests: object, context: Any) -> None:
        self._context = context
        self.headers = dict(context.invocation_metadata())
        kind = pb.discovery.DeltaDiscoveryRequest if self._delta else pb.discovery.DiscoveryRequest
        while isinstance(data := await context.read(), bytes):
            self.heard.append(kind.FromString(data))

    async def say(self, nonce: str, type_url: str = CLUSTER) -> None:
        message: Any = (
            pb.discovery.DeltaDiscoveryResponse() if self._delta else pb.discovery.DiscoveryResponse()
        )
        message.type_url, message.nonce = type_url, nonce
        if not self._delta:
            message.version_info = f"version-{nonce}"
        await self._context.write(message.SerializeToString())

    async def hears(self, count: int) -> Any:
        await until(lambda: len(self.heard) >= count, lambda: f"{count} requests, not {self.heard}")
        return self.heard[count - 1]

    @property
    def _delta(self) -> bool:
        return self.protocol == "DELTA_GRPC"


@asynccontextmanager
async def relayed(
    directory: Path, protocol: Protocol, faults: Faults, notice: float = 30.0
) -> AsyncIterator[tuple[Upstream, Any, Relay]]:
    """A stream through a relay to a server of ours, with its first request sent."""
    upstream = Upstream(protocol)
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(upstream.serve)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {raw.METHODS[protocol]: handler}),)
    )
    server.add_insecure_port(f"unix:{directory / 'up.sock'}")
    await server.start()
    relay = Relay(f"unix:{directory / 'up.sock'}", faults, notice)
    address = await relay.start(f"unix:{directory / 'down.sock'}")
    try:
        async with raw.raw(address, protocol) as call:
            await call.write(raw.request(protocol))
            assert (await upstream.hears(1)).node.id == raw.GOOD_ID
            yield upstream, call, relay
    finally:
        await relay.stop()
        await server.stop(None)


def ack(protocol: Protocol, nonce: str) -> bytes:
    message: Any = (
        pb.discovery.DeltaDiscoveryRequest()
        if protocol == "DELTA_GRPC"
        else pb.discovery.DiscoveryRequest(version_info=f"version-{nonce}")
    )
    message.type_url, message.response_nonce = CLUSTER, nonce
    data: bytes = message.SerializeToString()
    return data


async def nonce_of(protocol: Protocol, call: Any) -> str:
    async with asyncio.timeout(10):
        return str(raw.answer(protocol, await call.read()).nonce)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_ack_becomes_a_nack(tmp_path: Path, protocol: Protocol) -> None:
    async def scene() -> None:
        acks = [Message("web-1.default", "request", "cds", number, accepts=True) for number in range(3)]
        # A seed that accepts this proxy's first answer and rejects the next two.
        seed = next(
            seed
            for seed in range(1000)
            if [Faults(seed, nack=0.5).fate(message).nack for message in acks] == [False, True, True]
        )
        async with relayed(tmp_path, protocol, Faults(seed, nack=0.5)) as (upstream, call, relay):
            for number, nonce in enumerate("abc"):
                await upstream.say(nonce)
                assert await nonce_of(protocol, call) == nonce
                await call.write(ack(protocol, nonce))
                heard = await upstream.hears(number + 2)
                assert heard.response_nonce == nonce
                assert heard.error_detail.message == ("" if nonce == "a" else NACK_DETAIL)
                if protocol == "GRPC":
                    assert heard.version_info == "version-a"
            # Once more with the same nonce: the subscription changes, the verdict stays.
            await call.write(ack(protocol, "c"))
            heard = await upstream.hears(5)
            assert not heard.HasField("error_detail")
            if protocol == "GRPC":
                assert heard.version_info == "version-a"
            assert relay.counts["nack"] == 2

    asyncio.run(scene())


def test_a_loss_breaks_the_stream_in_the_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with relayed(tmp_path, "DELTA_GRPC", Faults(drop=1.0), notice=0.05) as (upstream, call, relay):
            await upstream.say("a")
            code, _ = await raw.status(call)
            assert code is grpc.StatusCode.UNAVAILABLE
            assert relay.counts["drop"] == 1

    asyncio.run(scene())


def test_calm_breaks_what_suffered_and_spares_the_rest(tmp_path: Path) -> None:
    async def scene() -> None:
        async with relayed(tmp_path, "DELTA_GRPC", Faults(delay=1.0, longest=0.001)) as (
            upstream,
            call,
            relay,
        ):
            await upstream.say("a")
            await nonce_of("DELTA_GRPC", call)
            relay.calm()
            await upstream.say("b")
            assert await nonce_of("DELTA_GRPC", call) == "b"
        async with relayed(tmp_path, "DELTA_GRPC", Faults(drop=1.0)) as (upstream, call, relay):
            await upstream.say("a")
            await until(lambda: relay.counts["drop"], "lost")
            relay.calm()
            assert (await raw.status(call))[0] is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scene())


def test_two_responses_change_places(tmp_path: Path) -> None:
    async def scene() -> None:
        faults = Faults(reorder=1.0)
        async with relayed(tmp_path, "DELTA_GRPC", faults) as (upstream, call, _):
            for nonce in "ab":
                await upstream.say(nonce)
            assert [await nonce_of("DELTA_GRPC", call) for _ in "ab"] == ["b", "a"]
            # With nobody to change places with it arrives all the same.
            await upstream.say("c")
            assert await nonce_of("DELTA_GRPC", call) == "c"

    asyncio.run(scene())


def test_a_cut_comes_after_the_response_and_headers_pass(tmp_path: Path) -> None:
    async def scene() -> None:
        async with relayed(tmp_path, "GRPC", Faults(cut=1.0)) as (upstream, call, _):
            await upstream.say("a")
            assert await nonce_of("GRPC", call) == "a"
            assert (await raw.status(call))[0] is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scene())


@pytest.mark.parametrize(("seed", "on_demand"), [(3, False), (4, True)])
def test_everybody_recovers(tmp_path: Path, seed: int, on_demand: bool) -> None:
    """Random edits through a harsh relay: afterwards its clients have what the others have."""
    asyncio.run(recover(tmp_path, seed, on_demand))


async def recover(directory: Path, seed: int, on_demand: bool) -> None:
    files = MeshFiles(directory / "config")
    editor = Editor(files, seed)
    editor.begin()
    rng = random.Random(seed)
    flags = ("--on-demand-virtual-hosts",) if on_demand else ()
    async with serving_files(files, directory / "xds.sock", *flags) as served, asyncio.TaskGroup() as group:
        relay = Relay(served.address, replace(HARSH, seed=seed), notice=0.1)
        address = await relay.start(f"unix:{directory / 'relay.sock'}")
        suffering: dict[str, Client] = {}
        for key, own, other in pairs(on_demand):
            await served.connect(own, key)
            suffering[key] = other
        tasks = [group.create_task(persist(other, address)) for other in suffering.values()]
        for _ in range(EDITS // 3):
            for _ in range(rng.randrange(1, 6)):
                editor.edit()
            for key, own in served.clients.items() if on_demand else ():
                if own.on_demand:
                    host = rng.choice(HOSTS)
                    await own.ask(host)
                    await suffering[key].ask(host)
            await asyncio.sleep(0.08)
        editor.mend()
        served.envoys = len(suffering)
        relay.calm()

        def differing() -> list[str]:
            return [
                f"{name}: {line}"
                for name, one in suffering.items()
                for line in difference(served.clients[name].views(), one.views())
            ]

        await served.taken_in()
        await until(lambda: not served._busy() and not differing(), lambda: f"{served._busy()} {differing()}")
        for fault in ("drop", "swap", "nack", "cut", "wait"):
            assert relay.counts[fault] > 2, relay.counts
        assert relay.counts["streams"] > 2 * len(suffering)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await relay.stop()


def pairs(on_demand: bool) -> Iterator[tuple[str, Client, Client]]:
    """Clients and their doubles."""
    for number, (name, namespace) in enumerate(WORKLOADS):
        labels = {"app": name, "version": "v1", "pod": "a"}
        for protocol in PROTOCOLS:
            own, other = (client(f"{name}-1", namespace, protocol, number + 2, **labels) for _ in "ab")
            own.on_demand = other.on_demand = on_demand and protocol == "DELTA_GRPC"
            yield f"{name}.{namespace} {protocol}", own, other


async def persist(one: Client, address: str) -> None:
    """Run a client as Envoy runs its stream: again and again."""
    while True:
        async with channel(address) as connection:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await one.run(connection)
        await asyncio.sleep(0.02)


def test_the_command_relays_until_it_is_told_to_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving_files(MeshFiles(tmp_path / "config"), tmp_path / "xds.sock") as served:
            door = tmp_path / "relay.sock"
            command = [sys.executable, "-m", "controlplane", "relay", "--listen", f"unix:{door}"]
            child = await asyncio.create_subprocess_exec(
                *command, "--upstream", served.address, "--delay", "0.5", "--seed", "1", stdout=-1
            )
            assert child.stdout is not None
            try:
                said = await asyncio.wait_for(child.stdout.readline(), 20)
                assert said.decode() == f"relaying unix:{door} to {served.address}\n"
                async with raw.raw(f"unix:{door}", "GRPC") as call:
                    await call.write(raw.request("GRPC"))
                    assert await nonce_of("GRPC", call)
                child.send_signal(signal.SIGTERM)
                said, _ = await asyncio.wait_for(child.communicate(), 20)
            finally:
                if child.returncode is None:
                    child.kill()
            assert child.returncode == 0
            assert "streams 1" in said.decode()

    asyncio.run(scene())
