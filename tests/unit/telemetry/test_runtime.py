"""Loop lag and garbage-collection pauses, measured with clocks that the tests hold."""

from __future__ import annotations

import asyncio
import gc

import pytest

from controlplane.base.clock import FakeClock
from controlplane.telemetry.metrics import Metrics
from controlplane.telemetry.runtime import GcPauses, watch_loop


class LateClock(FakeClock):
    """Wakes its sleeper later than it asked for."""

    def __init__(self, late: float) -> None:
        super().__init__()
        self.late = late

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.late)


@pytest.mark.parametrize("late", [0.0, 0.25])
def test_lag_is_how_late_the_loop_woke(late: float) -> None:
    async def scenario() -> list[float]:
        clock, seen = LateClock(late), list[float]()
        task = asyncio.create_task(watch_loop(clock, seen.append, interval=0.1))
        await clock.advance(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    seen = asyncio.run(scenario())
    assert len(seen) >= 2
    assert seen == pytest.approx([late] * len(seen), abs=1e-9)


def test_pauses_are_told_by_generation() -> None:
    times = iter(range(100))
    seen: list[tuple[str, float]] = []
    pauses = GcPauses(lambda generation, seconds: seen.append((generation, seconds)), lambda: next(times))
    pauses.start()
    pauses.start()
    try:
        gc.collect(1)
        gc.collect()
    finally:
        pauses.stop()
    assert ("1", 1) in seen
    assert ("2", 1) in seen
    before = len(seen)
    pauses.stop()
    gc.collect()
    assert len(seen) == before
    assert pauses._collected not in gc.callbacks


def test_an_end_without_a_beginning_is_not_a_pause() -> None:
    seen: list[float] = []
    pauses = GcPauses(lambda generation, seconds: seen.append(seconds), lambda: 1.0)
    pauses._collected("stop", {"generation": 2})
    assert seen == []


def test_pauses_feed_the_metric() -> None:
    metrics = Metrics("1", lambda: 0.0)
    pauses = GcPauses(lambda generation, seconds: metrics.gc_pause.of(generation).observe(seconds))
    pauses.start()
    try:
        gc.collect()
    finally:
        pauses.stop()
    assert b'mini_istiod_gc_pause_seconds_count{generation="2"}' in metrics.text()[1]
