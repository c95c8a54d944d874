"""When batches close, and what is in them.

The clock stands still until a test moves it; it counts milliseconds here, so that sums are exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from controlplane.base.clock import FakeClock
from controlplane.graph import Table
from controlplane.model.keys import Key
from controlplane.store.debounce import Batch, Debouncer, Timing, Write
from controlplane.telemetry.wave import Seen
from tests.support import tasks

MILLISECONDS = Timing(after=100, max=10_000)
CONFIG, ENDPOINTS = Table("config"), Table("endpoints")


def write(name: str, value: object, before: object = None, table: Table = CONFIG) -> Write:
    return Write(table, Key("", name), value, before)


def seen(number: int) -> Seen:
    return Seen(number, "Config", "", "x", "", 0.0)


def timing(**options: float | bool) -> Timing:
    return replace(MILLISECONDS, **options)  # type: ignore[arg-type]


class World:
    """A running debouncer; `committed` has (milliseconds since the start, {row: value}) of each batch."""

    def __init__(self, timing: Timing, takes: float = 0.0) -> None:
        self.clock = FakeClock(1000)
        self.takes = takes
        self.batches: list[Batch] = []
        self.debouncer = Debouncer(self.clock, self._commit, timing, endpoints=frozenset({ENDPOINTS}))

    async def _commit(self, batch: Batch) -> None:
        assert batch.closed == self.clock.monotonic()
        self.batches.append(batch)
        await self.clock.sleep(self.takes)

    def add(self, *writes: Write, changes: tuple[Seen, ...] = ()) -> None:
        self.debouncer.add(writes, changes)

    @property
    def committed(self) -> list[tuple[float, dict[str, object]]]:
        return [
            (batch.closed - 1000, {key.name: value for _, key, value in batch.writes})
            for batch in self.batches
        ]


@asynccontextmanager
async def debouncing(timing: Timing | None = None, takes: float = 0.0) -> AsyncIterator[World]:
    world = World(timing or MILLISECONDS, takes)
    async with tasks.running(world.debouncer.run()):
        yield world


def test_a_batch_closes_after_the_quiet_period() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 1))
            await world.clock.advance(99)
            assert world.committed == []
            await world.clock.advance(1)
            assert world.committed == [(100, {"a": 1})]

    tasks.run(test)


def test_each_write_begins_the_quiet_period_anew() -> None:
    async def test() -> None:
        async with debouncing() as world:
            for number in range(5):
                world.add(write(str(number), number))
                await world.clock.advance(60)
            assert world.committed == []
            await world.clock.advance(40)
            assert world.committed == [(340, {str(number): number for number in range(5)})]
            assert world.batches[0].opened == 1000

    tasks.run(test)


def test_a_batch_closes_at_the_longest_when_it_never_gets_quiet() -> None:
    async def test() -> None:
        async with debouncing(timing(max=500)) as world:
            for number in range(20):
                world.add(write("a", number, number - 1))
                await world.clock.advance(50)
            assert [moment for moment, _ in world.committed] == [500, 1000]
            assert world.committed[0][1] == {"a": 9}

    tasks.run(test)


def test_one_commit_at_a_time_and_what_arrives_meanwhile_joins_the_next() -> None:
    async def test() -> None:
        async with debouncing(takes=1000) as world:
            world.add(write("a", 1))
            await world.clock.advance(100)
            world.add(write("b", 1))
            await world.clock.advance(500)
            world.add(write("c", 1))
            await world.clock.advance(400)
            assert len(world.batches) == 1
            await world.clock.advance(100)
            # Quiet long enough already: committed as soon as the first one is done.
            assert world.committed == [(100, {"a": 1}), (1100, {"b": 1, "c": 1})]

    tasks.run(test)


def test_the_last_write_of_a_row_counts_in_the_order_of_the_first() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 1), write("b", 1))
            world.add(write("c", 1), write("a", 2, 1))
            world.add(write("b", None, 1, ENDPOINTS))
            await world.clock.advance(100)
            (batch,) = world.batches
            assert batch.writes == (
                (CONFIG, Key("", "a"), 2),
                (CONFIG, Key("", "b"), 1),
                (CONFIG, Key("", "c"), 1),
                (ENDPOINTS, Key("", "b"), None),
            )

    tasks.run(test)


def test_changes_come_with_their_batch() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 1), changes=(seen(1),))
            world.add(write("a", 2, 1), changes=(seen(2), seen(3)))
            await world.clock.advance(100)
            world.add(write("a", 3, 2), changes=(seen(4),))
            await world.clock.advance(100)
            assert [[one.id for one in batch.changes] for batch in world.batches] == [[1, 2, 3], [4]]

    tasks.run(test)


def test_a_row_that_returns_to_its_committed_value_is_not_written() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 2, 1), write("b", 2, 1))
            world.add(write("a", None, 2))
            world.add(write("a", 1, None))
            await world.clock.advance(100)
            assert world.committed == [(100, {"b": 2})]

    tasks.run(test)


def test_a_batch_that_came_to_nothing_is_not_committed() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 2, 1), changes=(seen(1),))
            await world.clock.advance(50)
            world.add(write("a", 1, 2), changes=(seen(2),))
            await asyncio.wait_for(world.debouncer.settled(), 1)
            await world.clock.advance(10000)
            assert world.batches == []
            # The next one begins from nothing.
            world.add(write("a", 3, 1), changes=(seen(3),))
            await world.clock.advance(100)
            assert world.committed == [(10150, {"a": 3})]
            assert [one.id for one in world.batches[0].changes] == [3]
            assert world.batches[0].opened == 11_050

    tasks.run(test)


def test_no_writes_are_nothing() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(changes=(seen(1),))
            await world.clock.advance(1000)
            assert world.batches == []

    tasks.run(test)


def test_endpoints_wait_as_everything_does_unless_told_otherwise() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.add(write("a", 1, table=ENDPOINTS))
            await world.clock.advance(50)
            assert world.batches == []

    tasks.run(test)


def test_endpoints_alone_need_not_wait() -> None:
    async def test() -> None:
        async with debouncing(timing(endpoints_wait=False)) as world:
            world.add(write("c", 1))
            await world.clock.advance(50)
            world.add(write("a", 1, table=ENDPOINTS))
            await world.clock.advance(0)
            assert world.committed == [(50, {"a": 1})]
            # The others keep their own time.
            await world.clock.advance(50)
            assert world.committed[1:] == [(100, {"c": 1})]

    tasks.run(test)


def test_endpoints_that_come_with_other_writes_stay_with_them() -> None:
    async def test() -> None:
        async with debouncing(timing(endpoints_wait=False)) as world:
            world.add(write("c", 1), write("a", 1, table=ENDPOINTS), changes=(seen(1),))
            await world.clock.advance(50)
            assert world.batches == []
            # A newer value of such a row overtakes: the older one must not come after it.
            world.add(write("a", 2, 1, table=ENDPOINTS), changes=(seen(2),))
            await world.clock.advance(0)
            assert world.committed == [(50, {"a": 2})]
            await world.clock.advance(50)
            assert world.committed[1:] == [(100, {"c": 1})]

    tasks.run(test)


def test_endpoints_wait_for_the_commit_under_way() -> None:
    async def test() -> None:
        async with debouncing(timing(endpoints_wait=False), takes=1000) as world:
            world.add(write("c", 1))
            await world.clock.advance(100)
            world.add(write("a", 1, table=ENDPOINTS))
            world.add(write("d", 1))
            world.add(write("a", 2, 1, table=ENDPOINTS))
            await world.clock.advance(1000)
            assert world.committed == [(100, {"c": 1}), (1100, {"a": 2, "d": 1})]

    tasks.run(test)


def test_adaptive_a_lone_write_is_committed_at_once() -> None:
    async def test() -> None:
        async with debouncing(timing(adaptive=True)) as world:
            world.add(write("a", 1))
            await world.clock.advance(0)
            assert world.committed == [(0, {"a": 1})]
            # What follows it closely is a storm until the opposite is known.
            await world.clock.advance(50)
            world.add(write("b", 1))
            await world.clock.advance(50)
            world.add(write("c", 1))
            await world.clock.advance(100)
            assert world.committed[1:] == [(200, {"b": 1, "c": 1})]
            await world.clock.advance(100)
            world.add(write("d", 1))
            await world.clock.advance(0)
            assert world.committed[2:] == [(300, {"d": 1})]

    tasks.run(test)


def test_adaptive_what_arrives_during_a_commit_waits() -> None:
    async def test() -> None:
        async with debouncing(timing(adaptive=True), takes=1000) as world:
            world.add(write("a", 1))
            await world.clock.advance(950)
            world.add(write("b", 1))
            await world.clock.advance(1000)
            assert world.committed == [(0, {"a": 1}), (1050, {"b": 1})]

    tasks.run(test)


def test_flush_does_not_wait() -> None:
    async def test() -> None:
        async with debouncing() as world:
            world.debouncer.flush()
            world.add(write("a", 1))
            await world.clock.advance(10)
            world.debouncer.flush()
            await world.clock.advance(0)
            assert world.committed == [(10, {"a": 1})]
            world.add(write("b", 1))
            await world.clock.advance(50)
            assert len(world.batches) == 1

    tasks.run(test)


def test_settled_waits_for_the_commit() -> None:
    async def test() -> None:
        async with debouncing(takes=1000) as world:
            await asyncio.wait_for(world.debouncer.settled(), 1)
            world.add(write("a", 1))
            waiting = asyncio.create_task(world.debouncer.settled())
            await world.clock.advance(500)
            assert not waiting.done()
            await world.clock.advance(1000)
            assert waiting.done()

    tasks.run(test)


def test_writes_before_the_start_are_not_lost() -> None:
    async def main() -> None:
        world = World(MILLISECONDS)
        world.add(write("a", 1))
        await world.clock.advance(5000)
        task = asyncio.create_task(world.debouncer.run())
        await world.clock.advance(0)
        assert world.committed == [(5000, {"a": 1})]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_failing_commit_ends_the_task_loudly() -> None:
    def fail(batch: Batch) -> None:
        raise RuntimeError("the graph is broken")

    async def main() -> None:
        clock = FakeClock()
        debouncer = Debouncer(clock, fail)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(debouncer.run())
                debouncer.add([write("a", 1)])
                await clock.advance(200)
                await asyncio.sleep(3600)
        assert caught.group_contains(RuntimeError, match="the graph is broken")

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["idle", "waiting", "committing"])
def test_cancelling(moment: str) -> None:
    async def test() -> None:
        async with debouncing(takes=1000) as world:
            if moment != "idle":
                world.add(write("a", 1))
                await world.clock.advance(50 if moment == "waiting" else 500)
        # The context manager saw that no task is left.
        assert len(world.batches) == (moment == "committing")

    tasks.run(test)


def test_the_defaults_are_those_of_istio() -> None:
    assert Timing() == Timing(after=0.1, max=10.0, endpoints_wait=True, adaptive=False)
