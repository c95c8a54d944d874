"""One stream over a fake transport, and the throttle that streams share."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.base.clock import SystemClock
from controlplane.base.errors import ProtocolError
from controlplane.envoy import pb
from controlplane.envoy.types import BY_SHORT
from controlplane.xds.admission import Admission
from controlplane.xds.codec import Codec
from controlplane.xds.layers import Ledgers
from controlplane.xds.observer import Connection
from controlplane.xds.options import Pace, XdsOptions, default_push_throttle
from controlplane.xds.protocol import Request
from controlplane.xds.session import Session, Shared
from controlplane.xds.stream import Around, Stream
from controlplane.xds.throttle import Priority, Throttle
from tests.unit.xds.wire import Watcher
from tests.unit.xds.world import DELTA, PROXY, Response, World, read


class FakeCall:
    """A transport whose window a test opens and closes."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.responses: asyncio.Queue[Response] = asyncio.Queue()
        self.window = asyncio.Event()
        self.window.set()
        self.writing = 0

    async def read(self) -> bytes | None:
        return await self.requests.get()

    async def write(self, data: bytes) -> None:
        self.writing += 1
        await self.window.wait()
        self.writing -= 1
        self.responses.put_nowait(read(DELTA, data))

    def ask(self, short: str, *names: str, nonce: str = "") -> None:
        message = pb.discovery.DeltaDiscoveryRequest(
            type_url=BY_SHORT[short].url, resource_names_subscribe=names, response_nonce=nonce
        )
        self.requests.put_nowait(message.SerializeToString())

    async def get(self) -> Response:
        async with asyncio.timeout(20):
            return await self.responses.get()


class Bench:
    """Streams over fake calls that share a throttle."""

    def __init__(self, world: World, options: XdsOptions | None = None) -> None:
        self.world = world
        self.options = options or XdsOptions()
        self.watcher = Watcher()
        self.throttle = Throttle(self.options.push_throttle)
        self.around = Around(SystemClock(), self.options, self.throttle, self.watcher)
        self.shared = Shared(world, Ledgers(), Codec("{}", 2**20), self.options.pace)
        self.streams: list[Stream] = []
        self.tasks: list[asyncio.Task[None]] = []

    def connect(self, short: str = "eds", *names: str) -> FakeCall:
        call = FakeCall()
        connection = Connection(f"web-{len(self.streams)}", PROXY, DELTA, "test", 0.0)
        session = Session(DELTA, self.world.feeds, self.shared)
        stream = Stream(call, connection, self.world, session, self.around)
        self.streams.append(stream)
        self.tasks.append(
            asyncio.create_task(stream.run(Request(BY_SHORT[short].url, names=frozenset(names))))
        )
        return call

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.throttle.free == self.options.push_throttle
        assert [task for task in asyncio.all_tasks() if "reader" in task.get_name()] == []


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    world = World()
    world.put("eds", "a", "1")
    return world


def test_requests_are_read_while_a_write_waits_for_the_window(world: World) -> None:
    async def test() -> None:
        async with Bench(world) as bench:
            call = bench.connect("eds", "a")
            call.window.clear()
            await turns()
            assert call.writing == 1
            call.ask("eds", nonce="garbage")
            await turns()
            assert ("expired", "ClusterLoadAssignment") in bench.watcher.told

    asyncio.run(test())


def test_nobody_waits_for_a_client_from_which_something_is_taken_away_late(world: World) -> None:
    async def test() -> None:
        async with Bench(world) as bench:
            call = bench.connect("eds", "a", "b")
            call.ask("eds", nonce=(await call.get()).nonce)
            await turns()
            world.drop("eds", "a")
            await turns()
            world.put("eds", "of others", "1")
            await turns()
            # The client still has what is gone, and would be told in ten seconds.
            assert bench.streams[0].session.stirred
            told = [event for event in bench.watcher.told if event[0] in ("woken", "untouched")]
            assert told == [("woken", 2), ("untouched", 2), ("woken", 3), ("untouched", 3)]

    asyncio.run(test())


def test_a_large_response_keeps_its_slot_for_a_while_only(world: World) -> None:
    async def test() -> None:
        options = XdsOptions(push_throttle=1, slot_time=0.01, small_write=0, write_timeout=0.03)
        async with Bench(world, options) as bench:
            slow = bench.connect("eds", "a")
            slow.window.clear()
            await turns()
            assert bench.throttle.free == 0
            quick = bench.connect("eds", "a")
            assert (await quick.get()).bodies == {"a": "1"}
            assert slow.writing == 1
            slow.window.set()
            assert (await slow.get()).bodies == {"a": "1"}

    asyncio.run(test())


def test_a_small_response_keeps_its_slot_for_a_turn_of_the_loop(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(push_throttle=1, slot_time=5.0)) as bench:
            slow = bench.connect("eds", "a")
            slow.window.clear()
            quick = bench.connect("eds", "a")
            await turns()
            assert quick.responses.qsize() == 1
            assert slow.writing == 1
            assert bench.throttle.free == 1

    asyncio.run(test())


def test_a_write_that_takes_too_long_is_reported_once(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(write_timeout=5.0)) as bench:
            slow = bench.connect("eds", "a")
            slow.window.clear()
            await turns()
            (stream,) = bench.streams
            now = SystemClock().monotonic()
            for seconds in (4.0, 6.0, 7.0):
                stream.check(now + seconds)
            assert [told for told in bench.watcher.told if told[0] == "stalled"] == [("stalled", "eds")]
            slow.window.set()
            await slow.get()
            stream.check(now + 1000.0)
            assert len([told for told in bench.watcher.told if told[0] == "stalled"]) == 1

    asyncio.run(test())


def test_a_slow_client_skips_what_came_in_between(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(pace=Pace(ack_deadline=0.0))) as bench:
            call = bench.connect("eds", "a")
            call.window.clear()
            await turns()
            for content in "2345":
                world.put("eds", "a", content)
                await turns()
            call.window.set()
            assert [(await call.get()).bodies["a"] for _ in range(2)] == ["1", "5"]

    asyncio.run(test())


def test_at_most_as_many_streams_write_large_responses_as_there_are_slots(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(push_throttle=3, slot_time=5.0, small_write=0)) as bench:
            calls = []
            for _ in range(10):
                calls.append(bench.connect("eds", "a"))
                calls[-1].window.clear()
            await turns()
            assert sum(call.writing for call in calls) == 3
            assert bench.throttle.queued == 7
            for call in calls:
                call.window.set()
            for call in calls:
                await call.get()

    asyncio.run(test())


def test_a_cancelled_stream_leaves_no_slot_behind(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(push_throttle=1, slot_time=5.0, small_write=0)) as bench:
            first, _second, third = (bench.connect("eds", "a") for _ in range(3))
            first.window.clear()
            await turns()
            bench.tasks[1].cancel()
            bench.tasks[0].cancel()
            assert (await third.get()).bodies == {"a": "1"}

    asyncio.run(test())


def test_a_stream_cancelled_at_its_turn_leaves_no_slot_behind(world: World) -> None:
    async def test() -> None:
        async with Bench(world, XdsOptions(push_throttle=1)) as bench:
            held = bench.throttle.try_take()
            bench.connect("eds", "a")
            await turns()
            assert bench.throttle.queued == 1
            held.release()
            bench.tasks[0].cancel()
            await turns()
            assert bench.throttle.free == 1

    asyncio.run(test())


def test_a_stream_ends_when_its_client_hangs_up(world: World) -> None:
    async def test() -> None:
        async with Bench(world) as bench:
            call = bench.connect("eds", "a")
            await call.get()
            call.requests.put_nowait(None)
            async with asyncio.timeout(20):
                await bench.tasks[0]

    asyncio.run(test())


def test_a_stream_ends_when_it_is_told_to(world: World) -> None:
    async def test() -> None:
        async with Bench(world) as bench:
            call = bench.connect("eds", "a")
            await call.get()
            bench.streams[0].end()
            async with asyncio.timeout(20):
                await bench.tasks[0]

    asyncio.run(test())


def test_bytes_that_are_no_request_end_the_stream(world: World) -> None:
    async def test() -> None:
        async with Bench(world) as bench:
            call = bench.connect("eds", "a")
            call.requests.put_nowait(b"\xff\xff")
            with pytest.raises(ProtocolError):
                await bench.tasks[0]

    asyncio.run(test())


def test_the_oldest_change_goes_first_then_the_more_urgent_one() -> None:
    async def test() -> None:
        throttle = Throttle(1)
        held = throttle.try_take()
        order: list[str] = []

        async def wait(name: str, priority: Priority) -> None:
            turn = asyncio.get_running_loop().create_future()
            throttle.wait(priority, turn)
            slot = await turn
            order.append(name)
            slot.release()

        waiting = [
            ("config", Priority(2, 2)),
            ("old", Priority(1, 2)),
            ("endpoints", Priority(2, 1)),
            ("removal", Priority(2, 0)),
        ]
        tasks = [asyncio.create_task(wait(*one)) for one in waiting]
        await turns(2)
        assert throttle.try_take() is None
        held.release()
        await asyncio.gather(*tasks)
        assert order == ["old", "removal", "endpoints", "config"]
        assert throttle.free == 1

    asyncio.run(test())


def test_a_slot_given_back_twice_counts_once() -> None:
    throttle = Throttle(1)
    slot = throttle.try_take()
    slot.release()
    slot.release()
    assert throttle.free == 1


def test_the_default_throttle_grows_with_the_machine_up_to_a_hundred() -> None:
    assert [default_push_throttle(cpus) for cpus in (1, 2, 16, 17, 64)] == [20, 25, 95, 100, 100]


def test_streams_are_admitted_evenly() -> None:
    admission = Admission(rate=10, patience=0.25)
    assert [admission.delay(0.0) for _ in range(4)] == [0.0, pytest.approx(0.1), pytest.approx(0.2), None]
    assert admission.delay(5.0) == 0.0


def test_without_a_rate_everybody_is_admitted() -> None:
    admission = Admission(rate=0, patience=0.0)
    assert {admission.delay(0.0) for _ in range(100)} == {0.0}
