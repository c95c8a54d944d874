"""A child process that is asked things: one question, one answer, over a pipe.

Children are started anew (not forked), so that nobody inherits another's heap, and they end when
their pipe closes: nothing is left behind when this process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import traceback
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]


class ChildError(Exception):
    """A child failed or did not answer; the message is its traceback where it has one."""


class Child:
    """The parent's end."""

    def __init__(self, name: str, main: Callable[..., None], *args: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=main, args=(theirs, *args), name=name, daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, op: str, **arguments: Any) -> None:
        """Ask without waiting for the answer; `answer` must follow."""
        self._pipe.send((op, arguments))

    def answer(self, timeout: float = 120.0) -> Any:
        """The answer to the oldest open question, at most `timeout` seconds from now."""
        name = self.process.name
        if not self._pipe.poll(timeout):
            raise ChildError(f"{name} did not answer in {timeout:.0f} s")
        try:
            fine, value = self._pipe.recv()
        except EOFError:
            self.process.join(5)
            raise ChildError(f"{name} ended ({self.process.exitcode})") from None
        if not fine:
            raise ChildError(f"{name}: {value}")
        return value

    def ask(self, op: str, timeout: float = 120.0, **arguments: Any) -> Any:
        """Ask and wait."""
        self.tell(op, **arguments)
        return self.answer(timeout)

    def close(self) -> None:
        """End the process: kindly for ten seconds, then not."""
        self._pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def child(name: str, main: Callable[..., None], *args: Any) -> Iterator[Child]:
    """A child that ends with the block."""
    made = Child(name, main, *args)
    try:
        yield made
    finally:
        made.close()


async def serve(pipe: Connection, answer: Answer) -> None:
    """The child's end on an event loop: answer questions in order until the parent hangs up."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            # In a thread: watching the pipe by the loop would make it non-blocking for large questions too.
            op, arguments = await loop.run_in_executor(None, pipe.recv)
        except EOFError:
            return
        pipe.send(await _attempt(answer, op, arguments))


async def _attempt(answer: Answer, op: str, arguments: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, await answer(op, arguments)
    except Exception:  # noqa: BLE001 - the parent is told, and fails
        return False, traceback.format_exc()
