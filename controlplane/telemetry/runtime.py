"""How the interpreter itself is doing: does the loop turn in time, and how long does collecting garbage take.

Both stop everything else in this process, so both are part of every proxy's latency.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

from controlplane.base.clock import Clock

INTERVAL = 0.1
"""Seconds between two looks at the loop."""


async def watch_loop(clock: Clock, observe: Callable[[float], None], interval: float = INTERVAL) -> None:
    """Sleep again and again, and tell by how many seconds each sleep was too long.  Runs until cancelled."""
    while True:
        began = clock.monotonic()
        await clock.sleep(interval)
        observe(max(0.0, clock.monotonic() - began - interval))


class GcPauses:
    """Tells the seconds of each garbage collection by generation ("0", "1", "2"), between start and stop.

    `observe` runs inside the collection: it must take no lock that the interrupted code may hold.
    """

    def __init__(
        self, observe: Callable[[str, float], None], now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._observe = observe
        self._now = now
        self._began: float | None = None

    def start(self) -> None:
        """Listen; once is enough."""
        if self._collected not in gc.callbacks:
            gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Listen no more; harmless when not started."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase == "start":
            self._began = self._now()
        elif self._began is not None:
            self._observe(str(info["generation"]), self._now() - self._began)
            self._began = None
