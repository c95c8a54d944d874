"""A clock for sources that look, sleep, and look again: whoever tests one says when."""

from __future__ import annotations

import asyncio


class Rounds:
    """A clock that stands still; its one sleeper is woken by `next`, which returns when it sleeps again."""

    def __init__(self) -> None:
        self._asleep = asyncio.Event()
        self._wake = asyncio.Event()

    def monotonic(self) -> float:
        return 5.0

    def wall(self) -> float:
        return 1_000_000_000.0

    async def sleep(self, seconds: float) -> None:
        self._asleep.set()
        await self._wake.wait()
        self._wake.clear()

    async def begun(self) -> None:
        await self._asleep.wait()

    async def next(self, times: int = 1) -> None:
        for _ in range(times):
            await self._asleep.wait()
            self._asleep.clear()
            self._wake.set()
            await self._asleep.wait()
