"""An event loop whose time is not the machine's: it jumps to the next timer as soon as nothing is left to do.

Everything runs as it would, timers fire in their order, and an hour in which nothing happens takes no time.
There are no threads and no sockets in it, so that the same program gives the same result, always.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    """Instead of waiting, moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that no clock will bring")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 and is counted in seconds."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


class VirtualClock:
    """The running virtual loop's time as a `Clock`; the wall clock showed `wall` at 0."""

    def __init__(self, loop: VirtualLoop, wall: float = 0.0) -> None:
        self._loop = loop
        self._wall = wall

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self._wall + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def running() -> VirtualLoop:
    """The running loop, which must be a virtual one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("this runs in virtual time only")
    return loop
