"""Writes become batches, and a batch becomes one revision of the graph.

A batch is committed when nothing was written for `after` seconds, or `max` seconds after its first
write, whichever is first, and never while another commit is under way: what arrives meanwhile joins
the next batch.  These are Istio's rules, so that the numbers compare.  Two options go beyond:

    endpoints_wait=False   writes of endpoints alone do not wait (PILOT_ENABLE_EDS_DEBOUNCE=false)
    adaptive=True          neither does the first write after `after` quiet seconds; what follows it does

A key that returns to its committed value within a batch is not written at all.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from controlplane.base.clock import Clock, sleep_unless
from controlplane.graph import Table
from controlplane.model.keys import Key
from controlplane.model.kinds import TABLES
from controlplane.telemetry.wave import Seen

ENDPOINT_TABLES = frozenset(
    TABLES[kind] for kind in ("Endpoints", "EndpointSlice", "Pod", "WorkloadEntry") if kind in TABLES
)
"""The tables whose writes change endpoints and, as a rule, nothing else."""


class Write(NamedTuple):
    """A new value of a row, None to remove it; `before` is the value that this one replaces."""

    table: Table
    key: Key
    value: Any
    before: Any


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit takes in: at most one write per row, in the order in which rows were first written.

    `changes` are all changes behind it in order of arrival.  `opened` is when its first write came,
    `closed` when it was committed; monotonic seconds.
    """

    writes: tuple[tuple[Table, Key, Any], ...]
    changes: tuple[Seen, ...]
    opened: float
    closed: float


@dataclass(frozen=True, slots=True)
class Timing:
    """When to commit; seconds.  The defaults are Istio's."""

    after: float = 0.1
    max: float = 10.0
    endpoints_wait: bool = True
    adaptive: bool = False


Commit: TypeAlias = Callable[[Batch], Awaitable[None] | None]
_Row: TypeAlias = tuple[Table, Key]


@dataclass(slots=True)
class _Lane:
    """Writes that wait together: (new value, committed value) by row."""

    rows: dict[_Row, tuple[Any, Any]] = field(default_factory=dict)
    changes: list[Seen] = field(default_factory=list)
    opened: float = 0.0
    last: float = 0.0
    hurry: bool = False

    def put(self, row: _Row, value: Any, before: Any) -> None:
        if row in self.rows:
            before = self.rows[row][1]
        if value == before:
            self.rows.pop(row, None)
        else:
            self.rows[row] = (value, before)

    def clear(self) -> None:
        self.rows.clear()
        self.changes.clear()
        self.hurry = False


class Debouncer:
    """Collects writes and commits them in batches; `run` is the one task that commits.

    An exception of `commit` leaves `run`: whoever runs it must not go on as if nothing had happened.
    `endpoints` are the tables that `endpoints_wait` is about.
    """

    def __init__(
        self,
        clock: Clock,
        commit: Commit,
        timing: Timing | None = None,
        *,
        endpoints: frozenset[Table] = ENDPOINT_TABLES,
    ) -> None:
        self._clock = clock
        self._commit = commit
        self._timing = timing or Timing()
        self._endpoints = endpoints
        self._normal = _Lane()
        self._express = _Lane()
        self._quiet_since = float("-inf")
        self._busy = False
        # When `run` wakes by itself; infinity = when there is something to do.
        self._wakes = float("inf")
        self._sooner = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # -- taking in ------------------------------------------------------------------------------

    def add(self, writes: Sequence[Write], changes: Sequence[Seen] = ()) -> None:
        """Take writes that belong together; they are committed in one batch."""
        if not writes:
            return
        now = self._clock.monotonic()
        pressing = not self._timing.endpoints_wait and all(w.table in self._endpoints for w in writes)
        lane = self._express if pressing else self._normal
        alone = not (self._busy or self._normal.rows or self._express.rows)
        if not lane.rows:
            lane.opened = now
            lane.hurry = alone and self._timing.adaptive and now - self._quiet_since >= self._timing.after
        lane.last = self._quiet_since = now
        lane.changes.extend(changes)
        for write in writes:
            self._put(lane, write)
        self._tidy()

    def _put(self, lane: _Lane, write: Write) -> None:
        row = (write.table, write.key)
        before = write.before
        if lane is self._express and row in self._normal.rows:
            # The row waited with others; its newest value overtakes them.
            before = self._normal.rows.pop(row)[1]
            if not self._normal.rows:
                lane.changes[:0] = self._normal.changes
                lane.opened = min(lane.opened, self._normal.opened)
        lane.put(row, write.value, before)

    def _tidy(self) -> None:
        """A lane whose rows all returned to what they were has nothing to tell."""
        for lane in (self._normal, self._express):
            if not lane.rows:
                lane.clear()
        if self._normal.rows or self._express.rows:
            self._idle.clear()
            due = self._due()
            # Most writes only move the end of the quiet time away: that is seen when the timer ends.
            if due is not None and due < self._wakes:
                self._sooner.set()
        elif not self._busy:
            self._idle.set()

    def flush(self) -> None:
        """Commit what is there now without waiting for quiet."""
        if self._normal.rows:
            self._normal.hurry = True
            self._tidy()

    async def settled(self) -> None:
        """Return when everything that was added is committed, or turned out to be nothing."""
        await self._idle.wait()

    # -- giving out -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit batches until cancelled.  What waits at that moment is dropped."""
        while True:
            due = self._due()
            if due is None:
                self._wakes = float("inf")
                self._sooner.clear()
                await self._sooner.wait()
            elif due > self._clock.monotonic():
                await self._wait_until(due)
            else:
                await self._commit_batch()

    async def _commit_batch(self) -> None:
        batch = self._take(self._clock.monotonic())
        self._busy = True
        try:
            done = self._commit(batch)
            if inspect.isawaitable(done):
                await done
        finally:
            self._busy = False
        self._tidy()

    def _due(self) -> float | None:
        """When the next batch is to be committed; None = there is none."""
        if self._express.rows or (self._normal.rows and self._normal.hurry):
            return self._clock.monotonic()
        if not self._normal.rows:
            return None
        return min(self._normal.last + self._timing.after, self._normal.opened + self._timing.max)

    async def _wait_until(self, due: float) -> None:
        """Sleep, unless something comes that may not wait so long."""
        self._wakes = due
        self._sooner.clear()
        await sleep_unless(self._clock, due - self._clock.monotonic(), self._sooner)

    def _take(self, now: float) -> Batch:
        """Close the express lane alone when the other one may still wait, both otherwise."""
        lanes = [self._express] if self._express.rows else []
        normal = self._normal
        ripe = min(normal.last + self._timing.after, normal.opened + self._timing.max) <= now
        if normal.rows and (normal.hurry or ripe):
            lanes.append(normal)
        rows: dict[_Row, tuple[Any, Any]] = {}
        for lane in lanes:
            rows.update(lane.rows)
        batch = Batch(
            tuple((table, key, value) for (table, key), (value, _) in rows.items()),
            tuple(change for lane in lanes for change in lane.changes),
            min(lane.opened for lane in lanes),
            now,
        )
        for lane in lanes:
            lane.clear()
        return batch
