"""The push throttle: how many streams plan and write at a time, and who comes first.

Everything runs on one loop, so the throttle does not make pushes faster.  It keeps large responses in
memory few, lets the loop read ACKs between the pushes of a wave, and decides who waits.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import NamedTuple, TypeAlias


class Priority(NamedTuple):
    """Smaller goes first: the oldest change; then removals, endpoints, the rest."""

    revision: int
    urgency: int


class Slot:
    """The right to push; giving it back twice does no harm."""

    __slots__ = ("_throttle",)

    def __init__(self, throttle: Throttle) -> None:
        self._throttle: Throttle | None = throttle

    def release(self) -> None:
        throttle, self._throttle = self._throttle, None
        if throttle is not None:
            throttle.free += 1
            throttle.serve()


Turn: TypeAlias = "asyncio.Future[Slot | None]"
"""What a stream waits on; None when it is woken for something else."""


class Throttle:
    """`limit` slots; `free` of them are not taken."""

    def __init__(self, limit: int) -> None:
        self.free = limit
        # The streams that a change wakes have two or three priorities between them: those are kept in
        # order, and the streams of each in the order in which they came.
        self._order: list[Priority] = []
        self._waiting: dict[Priority, deque[Turn]] = {}

    def try_take(self) -> Slot | None:
        """A slot at once, if nobody has to wait."""
        if self.free <= 0 or self._waiting:
            return None
        self.free -= 1
        return Slot(self)

    def wait(self, priority: Priority, turn: Turn) -> None:
        """Give `turn` a slot when this priority comes first; a turn that is done by then is passed over."""
        equals = self._waiting.get(priority)
        if equals is None:
            equals = self._waiting[priority] = deque()
            heapq.heappush(self._order, priority)
        equals.append(turn)
        if self.free > 0:
            self.serve()

    def serve(self) -> None:
        """Give free slots to who waits."""
        while self.free > 0 and self._order:
            first = self._order[0]
            equals = self._waiting[first]
            turn = equals.popleft()
            if not equals:
                heapq.heappop(self._order)
                del self._waiting[first]
            if not turn.done():
                self.free -= 1
                turn.set_result(Slot(self))

    @property
    def queued(self) -> int:
        """How many wait."""
        return sum(not turn.done() for equals in self._waiting.values() for turn in equals)
