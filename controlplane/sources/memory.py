"""A source driven by code: tests, the demo and replays put objects and delete them.

Calls are synchronous and take effect in order; everything that was put before the loop gets its turn
is delivered as one `apply`, so that a caller decides what belongs together by not awaiting in between.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.problem import Origin
from controlplane.sources.change import Change, Sink
from controlplane.sources.naming import Name, NoName, name_of


class MemorySource:
    """Objects that live nowhere else.

    `ids` numbers the changes; sources of one process share it.  Objects stay raw: what is wrong
    with them is reported by the store like that of any other source.
    """

    def __init__(
        self, name: str = "memory", *, clock: Clock | None = None, ids: Iterator[int] | None = None
    ) -> None:
        self.name = name
        self._clock = clock or SystemClock()
        self._ids = ids or itertools.count(1)
        self._waiting: list[Change] = []
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()

    def put(self, *objects: Mapping[str, Any], at: float | None = None) -> None:
        """Make these objects exist with this content.

        Raises ValueError for an object that has no kind, apiVersion or name.
        """
        changes = []
        for raw in objects:
            name = name_of(raw)
            if isinstance(name, NoName):
                raise ValueError(f"{name.field}: {name.message}")
            changes.append(self._change(name, raw, at))
        self._queue(changes)

    def delete(self, *objects: Mapping[str, Any], at: float | None = None) -> None:
        """Make these objects not exist; only their names are looked at."""
        changes = []
        for raw in objects:
            name = name_of(raw)
            if isinstance(name, NoName):
                raise ValueError(f"{name.field}: {name.message}")
            changes.append(self._change(name, None, at))
        self._queue(changes)

    async def delivered(self) -> None:
        """Return when the sink has taken everything that was put so far."""
        await self._idle.wait()

    async def run(self, sink: Sink) -> None:
        """Deliver what was put before the start, then follow."""
        await self._deliver(sink)
        sink.synced(self.name)
        while True:
            self._idle.set()
            await self._woken.wait()
            await self._deliver(sink)

    async def _deliver(self, sink: Sink) -> None:
        while self._waiting:
            changes, self._waiting = self._waiting, []
            self._woken.clear()
            await sink.apply(changes)

    def _change(self, name: Name, raw: Mapping[str, Any] | None, at: float | None) -> Change:
        moment = self._clock.monotonic() if at is None else at
        origin = Origin(f"<{self.name}>", None)
        return Change(name.kind, name.key, raw, origin, next(self._ids), moment, name.group)

    def _queue(self, changes: list[Change]) -> None:
        if changes:
            self._waiting.extend(changes)
            self._idle.clear()
            self._woken.set()
