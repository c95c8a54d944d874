"""The loop whose time jumps: timers fire in their order at their time, and no time passes meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.base import virtual


def test_a_day_of_timers_takes_no_time() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = virtual.running()
        clock = virtual.VirtualClock(loop, wall=5000.0)
        seen: list[tuple[str, float]] = []

        async def tick(name: str, every: float, times: int) -> None:
            for _ in range(times):
                await clock.sleep(every)
                seen.append((name, clock.monotonic()))

        assert clock.monotonic() == 0.0
        loop.call_later(30.5, lambda: seen.append(("called", loop.time())))
        await asyncio.gather(tick("hour", 3600.0, 24), tick("once", 30.0, 1))
        assert clock.wall() == 5000.0 + clock.monotonic()
        return seen

    seen = virtual.run(main())
    assert [name for name, _ in seen] == ["once", "called", *["hour"] * 24]
    assert [at for _, at in seen] == pytest.approx([30.0, 30.5, *(3600.0 * n for n in range(1, 25))])


def test_time_stands_still_while_there_is_something_to_do() -> None:
    async def main() -> float:
        woken = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, woken.set)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not woken.is_set()
        before = virtual.running().time()
        await woken.wait()
        return before

    assert virtual.run(main()) == 0.0


def test_waiting_for_nothing_is_an_error_and_not_for_ever() -> None:
    with pytest.raises(RuntimeError, match="no clock will bring"):
        virtual.run(asyncio.Event().wait())


def test_other_loops_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="in virtual time only"):
            virtual.running()

    asyncio.run(main())
