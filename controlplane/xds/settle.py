"""The settler: one task that brings the graph up to date and tells the feeds.

A settle runs in slices between which the loop reads ACKs.  While a commit is being settled the maps
are half new, so the feeds say that they are not ready; streams plan again when they are told.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable
from typing import NamedTuple

from controlplane.base.clock import Clock
from controlplane.graph import Graph
from controlplane.graph.table import Change

_SLICE = 0.005
"""Seconds of computing after which the loop gets its turn."""
_SWEEP = 500
"""Nodes freed between two turns of the loop."""
_FREEZE_AFTER = 2_000
"""Queries run after which what is there is taken out of the collector's sight: ten milliseconds of work."""


class Settled(NamedTuple):
    """The end of a settle: of a commit or only of new leases; in one slice or with turns between."""

    revision: int
    committed: bool
    sliced: bool


class Settler:
    """Owns the graph's progress.  `commit` from anywhere on the loop; `run` is its one task."""

    def __init__(self, graph: Graph, clock: Clock) -> None:
        self.graph = graph
        self.settling = False
        self.on_settled: Callable[[Settled], None] = lambda outcome: None
        self._clock = clock
        self._work = asyncio.Event()
        self._done: list[tuple[int, asyncio.Future[None]]] = []
        self._frozen_at = 0

    def commit(self, changes: Iterable[Change]) -> int:
        """Apply one batch and return its revision; `settled` waits until it can be read."""
        revision = self.graph.commit(changes)
        self.settling = True
        self._work.set()
        return revision

    def request(self) -> None:
        """A lease was taken or given back: see to it."""
        self._work.set()

    async def settled(self, revision: int) -> None:
        """Return when a revision is settled."""
        if self.graph.settled >= revision and not self.settling:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append((revision, done))
        self._work.set()
        await done

    async def run(self) -> None:
        """Settle whatever comes, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            sliced = False
            while not self.graph.settle(_SLICE, self._clock.monotonic):
                sliced = True
                self._freeze()
                await asyncio.sleep(0)
            committed, self.settling = self.settling, False
            self.on_settled(Settled(self.graph.settled, committed, sliced))
            self._wake()
            # What is not swept when new work comes is swept after that.
            while not self.graph.sweep(_SWEEP) and not self._work.is_set():  # noqa: ASYNC110 - it sweeps
                await asyncio.sleep(0)
            self._freeze()

    def _wake(self) -> None:
        waiting, self._done = self._done, []
        for revision, done in waiting:
            if revision > self.graph.settled:
                self._done.append((revision, done))
            elif not done.done():
                done.set_result(None)

    def _freeze(self) -> None:
        # A full collection walks every object that the collector can see: 0.8 s for a million nodes.
        # What a graph holds is long-lived, and its edges are cut explicitly: freed without a collector.
        # Often and little by little, because a collection stops everything else for as long as it takes.
        runs = self.graph.counters.runs
        if runs - self._frozen_at >= _FREEZE_AFTER:
            self._frozen_at = runs
            gc.collect()
            gc.freeze()
