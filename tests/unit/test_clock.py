"""Reading two clocks as if at once, and sleeping that may end early."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from controlplane.base.clock import FakeClock, both, sleep_unless


class Interrupted:
    """Its wall clock is a thousand ahead.  After each reading of it so many seconds pass, one by one."""

    def __init__(self, *after: float) -> None:
        self.now = 1.0
        self._after = list(after)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        wall = self.now + 1000.0
        self.now += self._after.pop(0)
        return wall

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.mark.parametrize(
    ("after", "error", "left"),
    [
        ([0.0, 9.0], 0.0, 1),
        ([0.3, 0.00002, 9.0], 0.00001, 1),
        # Never quick enough: the closest of five.
        ([0.3, 0.2, 0.01, 0.2, 0.3, 9.0], 0.005, 1),
    ],
)
def test_the_closest_of_some_readings_counts(after: Sequence[float], error: float, left: int) -> None:
    clock = Interrupted(*after)
    monotonic, wall = both(clock)
    assert abs(wall - monotonic - 1000.0) == pytest.approx(error)
    assert len(clock._after) == left


def test_a_sleep_ends_in_time_or_with_the_event_and_leaves_nothing_behind() -> None:
    async def main() -> None:
        clock, event = FakeClock(), asyncio.Event()
        sleeping = asyncio.create_task(sleep_unless(clock, 10.0, event))
        await clock.advance(9.0)
        assert not sleeping.done()
        await clock.advance(1.0)
        assert sleeping.done()

        sleeping = asyncio.create_task(sleep_unless(clock, 10.0, event))
        await clock.advance(1.0)
        event.set()
        await clock.advance(0.0)
        assert sleeping.done()

        sleeping = asyncio.create_task(sleep_unless(clock, 10.0, asyncio.Event()))
        await clock.advance(1.0)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_clock_that_fails_is_not_slept_over() -> None:
    class Broken(FakeClock):
        async def sleep(self, seconds: float) -> None:
            raise OSError("no timer")

    with pytest.raises(OSError, match="no timer"):
        asyncio.run(sleep_unless(Broken(), 1.0, asyncio.Event()))
