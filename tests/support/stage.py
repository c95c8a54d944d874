"""A control plane that stays up between the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")


class Stage(Generic[S]):
    """Something that lives on an event loop, and the loop: it stands still while no test runs."""

    def __init__(self, runner: asyncio.Runner, subject: S) -> None:
        self.runner = runner
        self.subject = subject

    def play(self, scene: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; everything else on the loop runs along."""
        return self.runner.run(scene)


@contextmanager
def staged(made: AbstractAsyncContextManager[S]) -> Iterator[Stage[S]]:
    """Enter an asynchronous context for as long as this one lasts."""
    with asyncio.Runner() as runner:
        subject = runner.run(_enter(made))
        try:
            yield Stage(runner, subject)
        finally:
            runner.run(_leave(made))


async def _enter(made: AbstractAsyncContextManager[S]) -> S:
    return await made.__aenter__()


async def _leave(made: AbstractAsyncContextManager[Any]) -> None:
    await made.__aexit__(None, None, None)
