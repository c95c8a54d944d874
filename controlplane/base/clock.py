"""Time comes in through a door, so that tests can hold it.

Only the outer layers own a clock: nothing in graph, model, mesh or envoy can ask what time it is.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """What the loops need of time; all values are seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, at once when that is zero or less."""
        ...


class SystemClock:
    """The machine's own clocks and the running event loop's timer."""

    # Not wrapped: the time is asked for half a dozen times for each response to each proxy.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_AT_ONCE = 0.00005
_TRIES = 5


def both(clock: Clock) -> tuple[float, float]:
    """Monotonic and wall seconds of one moment.

    Two clocks cannot be read at once, and on a busy machine much may happen between two readings: so the
    closest of some readings counts.
    """
    closest = float("inf")
    found = 0.0, 0.0
    for _ in range(_TRIES):
        before = clock.monotonic()
        wall = clock.wall()
        took = clock.monotonic() - before
        if took < closest:
            closest, found = took, (before + took / 2, wall)
        if closest <= _AT_ONCE:
            break
    return found


async def sleep_unless(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Sleep for so long, or until the event is set."""
    waits = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class FakeClock:
    """A clock that stands still until a test calls `advance`; sleepers wake in order of deadline."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Move time on, waking each sleeper at its own deadline and letting its task run."""
        await self._drain()
        target = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            self._now, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)
            await self._drain()
        self._now = target

    @staticmethod
    async def _drain() -> None:
        # Callbacks schedule callbacks: a few turns of the loop let a woken task reach its next wait.
        for _ in range(20):
            await asyncio.sleep(0)
