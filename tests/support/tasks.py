"""Tasks of the thing under test: they run while a test does, and none is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body, then cancel it."""
    task = asyncio.create_task(work)
    try:
        await asyncio.sleep(0)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine on a loop of its own."""

    async def main() -> None:
        await test()

    asyncio.run(main())
