"""The server over real gRPC on loopback and Unix sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import grpc
import pytest

from controlplane.base.clock import SystemClock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.base.parse import Address
from controlplane.envoy import pb
from controlplane.xds.options import Pace, XdsOptions
from controlplane.xds.server import XdsServer
from tests.unit.xds.wire import CHANNEL, Client, Rig, Watcher, WorldViews, run, serving
from tests.unit.xds.world import DELTA, SOTW, World, resource

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


@pytest.fixture
def world() -> World:
    world = World()
    world.commit(
        [
            ("cds", "a", resource("cds", "a", "1", ["a"])),
            ("eds", "a", resource("eds", "a", "1")),
            ("lds", "l", resource("lds", "l", "1", ["r"])),
            ("rds", "r", resource("rds", "r", "1")),
        ]
    )
    return world


async def connected(rig: Rig, variant) -> Client:
    """A client that has everything and has acknowledged it, and a server that was told of both."""
    client = rig.client(variant)
    for short, *names in (("cds",), ("eds", "a"), ("lds",), ("rds", "r")):
        await client.ask(short, *names)
        await client.ack(await client.read(), *names)
    # A client may have answered before the task that wrote the response goes on.
    for event in ("acked", "written"):
        await rig.watcher.until(lambda: [told[0] for told in rig.watcher.told].count(event) >= 4)  # noqa: B023
    rig.watcher.told.clear()
    return client


# -- the way of a change ------------------------------------------------------------------------------


@both
def test_a_client_gets_what_it_asks_for_and_then_what_changes(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = await connected(rig, variant)
            world.put("eds", "a", "2")
            response = await client.read()
            assert (response.short, response.bodies) == ("eds", {"a": "2"})
            await client.ack(response, "a")
            await rig.until("acked", "eds")
            await rig.until("written", "eds")
            told = [event[0] for event in rig.watcher.told]
            assert told == ["woken", "planned", "written", "acked"] or told == [
                "woken",
                "planned",
                "acked",
                "written",
            ]

    run(test)


@both
def test_a_change_that_does_not_concern_the_proxy_is_reported_as_such(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            await connected(rig, variant)
            world.put("eds", "somebody-else", "1")
            await rig.until("untouched", world.revision)
            assert [told[0] for told in rig.watcher.told] == ["woken", "untouched"]

    run(test)


@both
def test_a_rejection_is_reported_and_mended(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = await connected(rig, variant)
            world.put("rds", "r", "bad")
            await client.ack(await client.read(), "r", error="missing ]")
            assert (await client.read()).bodies == {"r": "1"}
            assert ("nacked", "rds", "missing ]", ("r",)) in rig.watcher.told

    run(test)


@both
def test_ten_megabytes_arrive(variant) -> None:
    world = World()
    world.commit(("cds", f"c{number}", resource("cds", f"c{number}", "x" * 100_000)) for number in range(100))

    async def test() -> None:
        async with serving(world) as rig:
            client = rig.client(variant)
            await client.ask("cds")
            response = await client.read(60)
            assert len(response.bodies) == 100
            assert response.size > 10_000_000

    run(test)


@both
def test_a_client_that_hangs_up_is_forgotten(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = await connected(rig, variant)
            await client.call.done_writing()
            assert await client.status() == (grpc.StatusCode.OK, "")
            other = await connected(rig, variant)
            other.call.cancel()
            await rig.until("gone")
            assert rig.views.open_views == []

    run(test)


@both
def test_a_reconnecting_client_is_served_again(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            first = await connected(rig, variant)
            first.call.cancel()
            world.put("cds", "a", "2", ["a"])
            again = rig.client(variant)
            known = (
                {"known": {"a": world.feed("cds").content["a"].version}}
                if variant is DELTA
                else {"version": "x"}
            )
            await again.ask("cds", **known)
            assert (await again.read()).bodies == ({} if variant is DELTA else {"a": "2"})
            await again.ask("eds", "a")
            assert (await again.read()).bodies == {"a": "1"}

    run(test)


@both
def test_a_feed_that_settles_while_nobody_tells_is_found(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            world.unsettle()
            client = rig.client(variant)
            await client.ask("cds")
            await rig.until("connected")
            await asyncio.sleep(0.05)
            world.settle()
            assert (await client.read()).bodies == {"a": "1"}

    run(test)


@both
def test_deadlines_pass_without_an_event(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world, XdsOptions(pace=Pace(ack_deadline=0.05))) as rig:
            client = await connected(rig, variant)
            world.put("eds", "a", "2")
            assert (await client.read()).bodies == {"a": "2"}
            world.put("eds", "a", "3")
            assert (await client.read()).bodies == {"a": "3"}

    run(test)


# -- clients that are slow ----------------------------------------------------------------------------


def test_a_stalled_client_delays_nobody() -> None:
    world = World()
    world.put("rds", "r", "0")

    async def test() -> None:
        # One slot: whoever keeps it keeps everybody.
        options = XdsOptions(push_throttle=1, write_timeout=0.2, pace=Pace(ack_deadline=0.02))
        async with (
            serving(world, options) as rig,
            grpc.aio.insecure_channel(str(rig.server.addresses[0]), options=CHANNEL) as apart,
        ):
            stalled = Client(apart, DELTA)
            await stalled.ask("rds", "r")
            lively = rig.client(DELTA)
            await lively.ask("rds", "r")
            await lively.ack(await lively.read())
            for number in range(8):
                # Several megabytes fill whatever windows there are.
                world.put("rds", "r", f"{number}" * 3_000_000)
                # It gets them though the write to the other one, which had the slot, goes on all the time.
                response = await lively.read()
                assert response.bodies == {"r": f"{number}" * 3_000_000}
                await lively.ack(response)
                await asyncio.sleep(0.03)
            sizes = [told[2] for told in rig.watcher.told if told[0] == "written"]
            # The lively one's, and what a transport takes of a response before anybody reads it.
            assert len([size for size in sizes if size > 3_000_000]) <= 8 + 2
            await rig.until("stalled", "rds")
            # When it reads again it gets the newest state, and little of what came in between.
            world.put("rds", "r", "last")
            seen = [await stalled.read()]
            while seen[-1].bodies != {"r": "last"}:
                await stalled.ack(seen[-1])
                seen.append(await stalled.read())
            assert len(seen) < 8

    run(test)


# -- clients that are wrong ---------------------------------------------------------------------------


@both
def test_a_malformed_node_id_is_an_invalid_argument(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = rig.client(variant)
            await client.ask("cds", node="not-a-node-id")
            code, text = await client.status()
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "not-a-node-id" in text
            assert rig.watcher.told[-1][:2] == ("denied", "invalid_argument")

    run(test)


@both
def test_a_request_without_a_node_is_an_invalid_argument(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = rig.client(variant)
            await client.ask("cds", node=None)
            assert await client.status() == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "the first request of a stream must carry the node",
            )

    run(test)


@both
def test_bytes_that_are_no_request_are_an_invalid_argument(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            for introduce in (False, True):
                client = rig.client(variant)
                if introduce:
                    await client.ask("cds")
                    await client.read()
                await client.call.write(b"\xff\xff\xff\xff no protobuf")
                assert (await client.status())[0] is grpc.StatusCode.INVALID_ARGUMENT

    run(test)


@both
def test_an_unknown_type_is_ignored_and_the_stream_lives(world: World, variant, caplog) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = rig.client(variant)
            await client.ask("type.googleapis.com/no.such.Type")
            await client.ask("type.googleapis.com/no.such.Type")
            await client.ask("cds")
            assert (await client.read()).short == "cds"

    run(test)
    assert len([record for record in caplog.records if "not served" in record.message]) == 1


@both
def test_a_garbage_nonce_is_ignored(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = await connected(rig, variant)
            await client.ask("eds", "a", nonce="garbage", error="and an error")
            await rig.until("expired", "ClusterLoadAssignment")
            world.put("lds", "l", "2", ["r"])
            while (await client.read()).short != "lds":
                pass

    run(test)


@both
def test_an_oversized_request_is_a_resource_exhausted(world: World, variant) -> None:
    async def test() -> None:
        async with serving(world, XdsOptions(max_receive=10_000)) as rig:
            client = rig.client(variant)
            await client.ask("eds", *(f"name-{number:05}" for number in range(2000)))
            assert (await client.status())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            # In the middle of a stream too, and the stream is gone then.
            client = await connected(rig, variant)
            await client.ask("eds", *(f"name-{number:05}" for number in range(2000)))
            assert (await client.status())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            await rig.until("gone")

    run(test)


def test_a_silent_client_is_sent_away(world: World) -> None:
    async def test() -> None:
        async with serving(world, XdsOptions(introduction_timeout=0.05)) as rig:
            client = rig.client(DELTA)
            assert (await client.status())[0] is grpc.StatusCode.DEADLINE_EXCEEDED

    run(test)


def test_an_unknown_method_is_unimplemented(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            call = rig.channel.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/Nope")()
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.UNIMPLEMENTED

    run(test)


# -- admission and the end ------------------------------------------------------------------------------


def test_streams_are_refused_until_the_sources_have_synced(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            rig.views.ready = False
            client = rig.client(DELTA)
            assert await client.status() == (grpc.StatusCode.UNAVAILABLE, "the sources have not synced yet")
            rig.views.ready = True
            await connected(rig, DELTA)

    run(test)


def test_new_streams_beyond_the_rate_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with serving(world, XdsOptions(streams_per_second=0.001, admission_wait=0.1)) as rig:
            await connected(rig, DELTA)
            code, _ = await rig.client(DELTA).status()
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            monkeypatch.setattr(SystemClock, "monotonic", lambda self: time.monotonic() + 1000)
            await connected(rig, DELTA)

    run(test)


def test_streams_end_well_when_the_server_stops(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            clients = [await connected(rig, DELTA) for _ in range(3)]
            left = []

            async def end(client: Client) -> None:
                assert await client.status() == (grpc.StatusCode.OK, "")
                left.append(len(rig.server.streams))

            async with asyncio.TaskGroup() as tasks:
                for client in clients:
                    tasks.create_task(end(client))
                tasks.create_task(rig.server.stop(1.5))
            # Not all at the same time.
            assert left[0] > 0 == left[-1]

    run(test)


def test_a_stopped_server_can_be_followed_by_another_on_the_same_address(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            address = rig.server.addresses[0]
        async with serving(world, address=address) as rig:
            await connected(rig, SOTW)

    run(test)


def test_a_connection_ends_at_its_maximum_age(world: World) -> None:
    async def test() -> None:
        options = XdsOptions(max_connection_age=0.5, max_connection_age_grace=0.5)
        async with serving(world, options) as rig:
            for _ in range(2):
                client = rig.client(DELTA)
                await client.ask("cds")
                assert (await client.read()).bodies == {"a": "1"}
                await client.status()

    run(test)


# -- sockets -----------------------------------------------------------------------------------------


def test_a_unix_socket_serves_other_users(world: World, tmp_path) -> None:
    path = tmp_path / "xds.sock"

    async def test() -> None:
        async with serving(world, address=Address("", 0, str(path))) as rig:
            assert path.stat().st_mode & 0o777 == 0o666
            await connected(rig, DELTA)

    run(test)


def test_a_socket_left_by_a_dead_server_is_replaced(world: World, tmp_path) -> None:
    path = tmp_path / "xds.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    async def test() -> None:
        async with serving(world, address=Address("", 0, str(path))) as rig:
            await connected(rig, DELTA)

    run(test)


async def refused(address: Address) -> str:
    server = XdsServer(WorldViews(World()), [address], XdsOptions(), clock=SystemClock(), observer=Watcher())
    try:
        with pytest.raises(EnvironmentUnfit) as error:
            await server.start()
    finally:
        await server.stop()
    return str(error.value)


def test_a_socket_of_a_living_server_is_left_alone(world: World, tmp_path) -> None:
    path = tmp_path / "xds.sock"

    async def test() -> None:
        async with serving(world, address=Address("", 0, str(path))) as rig:
            assert "another server" in await refused(Address("", 0, str(path)))
            await connected(rig, DELTA)

    run(test)


def test_a_file_in_the_place_of_a_socket_is_left_alone(tmp_path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    assert "no socket" in asyncio.run(refused(Address("", 0, str(path))))
    assert path.read_text() == "data"


def test_a_missing_directory_is_named(tmp_path) -> None:
    assert "no directory" in asyncio.run(refused(Address("", 0, str(tmp_path / "no" / "xds.sock"))))


def test_a_port_in_use_is_named(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            text = await refused(rig.server.addresses[0])
            assert str(rig.server.addresses[0]) in text

    run(test)


def test_nodes_with_metadata_become_proxies(world: World) -> None:
    async def test() -> None:
        async with serving(world) as rig:
            client = rig.client(DELTA)
            message = pb.discovery.DeltaDiscoveryRequest(type_url="type.googleapis.com/x")
            message.node.id = "sidecar~10.0.0.7~a-1.prod~prod.svc.cluster.local"
            message.node.metadata.update({"LABELS": {"app": "a"}, "NAMESPACE": "prod"})
            message.node.locality.region = "north"
            await client.call.write(message.SerializeToString())
            await rig.until("connected", "a-1.prod-1")
            (stream,) = rig.server.streams
            assert stream.connection.proxy.labels == (("app", "a"),)
            assert stream.connection.proxy.locality.region == "north"

    run(test)
