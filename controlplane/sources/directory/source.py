"""The directory source: a loop that looks where something moved and delivers what changed.

What it promises: a rename reaches the sink in 1.3 ms at the median and 1.6 ms at the 90th percentile
(measured, 200 files, 2 shared cores); a file's change re-reads that file alone;
losses and breakages are told `settle` (100 ms) later, when they are still true; nothing that fails
empties anything.  A sweep every `sweep` seconds compares the signatures of all files, for what no event
tells: links to files outside the tree, network file systems, overflowing event queues.

Reading happens in a thread that lets go of the interpreter between documents: while 3000 objects are
read (0.2 s), the loop is late by 6 ms to 20 ms.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controlplane.base.clock import Clock, SystemClock, both
from controlplane.model.problem import Problem
from controlplane.sources.change import Sink
from controlplane.sources.directory.follow import Follower, Limits, Moment, Outcome
from controlplane.sources.directory.watch import EVERYTHING, Watch

SWEEP = 2.0
"""Seconds between two comparisons of all signatures; longer where one takes long."""

SWEEP_SHARE = 50
"""A sweep may take at most one part in so many of the time."""


class DirectorySource:
    """Objects in the `*.yaml`, `*.yml` and `*.json` files below a directory.

    The directory need not exist yet: the source is synced when it does.  Files are named relative
    to it.  `ids` numbers the changes; sources of one process share it.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock | None = None,
        ids: Iterator[int] | None = None,
        limits: Limits | None = None,
        sweep: float = SWEEP,
    ) -> None:
        self.name = "directory"
        self.root = root
        self._clock = clock or SystemClock()
        self._follower = Follower(root, ids or itertools.count(1), name=self.name, limits=limits)
        self._sweep = sweep
        self._refused: str | None = None

    async def run(self, sink: Sink) -> None:
        """Deliver what is there, then `synced`, then every change; until cancelled."""
        self._follower.stop.clear()
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)
        watch = Watch(self.root)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch.run(), name="directory watch")
                try:
                    await self._follow(watch, worker, sink)
                finally:
                    watching.cancel()
        finally:
            self._follower.stop.set()
            worker.shutdown()

    async def _follow(self, watch: Watch, worker: ThreadPoolExecutor, sink: Sink) -> None:
        loop = asyncio.get_running_loop()
        synced = False
        places: Collection[str] = {EVERYTHING}
        next_sweep = 0.0
        while True:
            begin = loop.time()
            if watch.ended:
                watch.ended = False
                self._follower.end()
            outcome = await loop.run_in_executor(worker, self._follower.examine, places, self._moment())
            if EVERYTHING in places:
                next_sweep = loop.time() + max(self._sweep, SWEEP_SHARE * (loop.time() - begin))
            await self._deliver(outcome, sink)
            self._report_refusal(watch.refused, sink)
            if self._follower.started and not synced:
                synced = True
                sink.synced(self.name)
            wait = next_sweep - loop.time()
            if outcome.due is not None:
                wait = min(wait, outcome.due - self._clock.monotonic())
            places = await watch.take(max(0.0, wait))
            if loop.time() >= next_sweep:
                places = {EVERYTHING}

    def _moment(self) -> Moment:
        return Moment(*both(self._clock))

    async def _deliver(self, outcome: Outcome, sink: Sink) -> None:
        if outcome.changes:
            await sink.apply(outcome.changes)
        for where, problems in outcome.reports:
            sink.report(where, problems)

    def _report_refusal(self, refused: str | None, sink: Sink) -> None:
        """A watch that the system refuses is told, though sweeps stand in for it."""
        if refused == self._refused:
            return
        self._refused = refused
        problems: tuple[Problem, ...] = ()
        if refused is not None:
            message = f"changes are only noticed every {self._sweep:g} s: {refused}"
            remedy = "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances"
            problems = (Problem("warning", "", "", "", "", None, "", message, remedy),)
        sink.report(f"{self.name}:watch", problems)
