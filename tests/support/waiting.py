"""Waiting on the loop for what only tells when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(
    condition: Callable[[], object], what: str | Callable[[], str], seconds: float = 20.0
) -> None:
    """Return once `condition` holds; AssertionError, saying `what`, when it does not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.005)
