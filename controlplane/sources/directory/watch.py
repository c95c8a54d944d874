"""The operating system's word that something moved, as places to look at.

Events only say where to look; what is there is found out by looking.  So an event too many costs a
few calls of stat, and one too few costs time until the next sweep, never correctness.

Measured (Linux, inotify, idle machine): 6.5 ms from rename to event at the median, 7.5 ms at the
90th percentile.  watchfiles looks into its queue every `STEP` ms and waits one step more for events
that belong together; the price of 5 ms is 0.7 % of one core, 20 ms cost 0.4 % and 31 ms of latency.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

# The only error of its own; the package does not export it.
from watchfiles._rust_notify import WatchfilesRustInternalError

from controlplane.sources.directory.tree import affected, identity

STEP = 5
"""Milliseconds between two looks into the event queue, and the quiet time that ends a group."""

GROUP = 50
"""Milliseconds after which a group of events is delivered even while more arrive."""

TICK = 250
"""Milliseconds without an event after which the directory itself is checked for being another one."""

EVERYTHING = ""

# It logs every group of events at INFO; ours says what changed, not that something did.
logging.getLogger("watchfiles.main").setLevel(logging.WARNING)


class Watch:
    """Collects places below `root` until somebody takes them.

    `refused` is why the system gives no events though the directory is there, None when it does.
    `ended` turns true when the directory itself was removed or moved; the reader resets it.  It tells
    what looking cannot: a directory made anew may get the old one's inode.
    """

    def __init__(self, root: Path) -> None:
        self.refused: str | None = None
        self.ended = False
        self._root = root
        # Never resolved: links in the path may be turned while we watch.
        self._prefix = os.path.normpath(root.absolute())
        self._places: set[str] = set()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled, whatever becomes of the directory."""
        while True:
            present = identity(self._root)
            if not isinstance(present, str):
                self._add(EVERYTHING)
                try:
                    await self._watch(present)
                except* (OSError, WatchfilesRustInternalError) as errors:
                    # Typically: no inotify watches left.  (Or the directory went away just now.)
                    self.refused = str(errors.exceptions[0])
                self._add(EVERYTHING)
            await asyncio.sleep(TICK / 1000)

    async def take(self, seconds: float) -> set[str]:
        """The places since the last call; waits for one, no longer than `seconds`.  May be empty."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return set()
        self._woken.clear()
        places, self._places = self._places, set()
        return places

    async def _watch(self, present: tuple[int, int]) -> None:
        """Collect events until the directory is another one."""
        events = awatch(
            self._prefix,
            watch_filter=None,
            step=STEP,
            debounce=GROUP,
            rust_timeout=TICK,
            yield_on_timeout=True,
            recursive=True,
            ignore_permission_denied=True,
        )
        begun = False
        async with aclosing(events):
            async for changes in events:
                if not begun:
                    # Events flow from now on; look once at what happened before that.
                    begun, self.refused = True, None
                    self._add(EVERYTHING)
                for _, path in changes:
                    self._event(path)
                # The watch follows a directory that moved, and dies with one that was removed.
                if (Change.deleted, self._prefix) in changes:
                    self.ended = True
                    return
                if identity(self._root) != present:
                    return

    def _event(self, path: str) -> None:
        if path.startswith(self._prefix + "/"):
            place = affected(path[len(self._prefix) + 1 :])
        else:
            place = EVERYTHING
        if place is not None:
            self._add(place)

    def _add(self, place: str) -> None:
        self._places.add(place)
        self._woken.set()
