"""How many new streams are let in per second, how many one caller may have, and how many requests each may
send.

A restarted control plane meets all its proxies at once.  Their first answers are mostly shared
bytes, so the default is generous; what does not fit waits a little, and beyond that is sent away to
come again with Envoy's back-off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

_ROUNDING = 1e-6


class Admission:
    """An even rate without bursts; `rate` is per second, 0 is no limit; `patience` in seconds."""

    def __init__(self, rate: float, patience: float) -> None:
        self._interval = 1.0 / rate if rate > 0 else 0.0
        self._patience = patience
        self._next = float("-inf")

    def delay(self, now: float) -> float | None:
        """Seconds that a stream which comes now has to wait; None when that is too long."""
        wait = max(self._next - now, 0.0)
        if wait > self._patience:
            return None
        self._next = now + wait + self._interval
        return wait


class Bucket:
    """`rate` per second in the long run, `burst` at once; rate 0 is no limit."""

    def __init__(self, rate: float, burst: float) -> None:
        self._interval = 1.0 / rate if rate > 0 else 0.0
        self._ahead = (burst - 1) * self._interval
        self._next = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds that what comes now has to wait."""
        turn = self._next
        if turn <= now:  # as for nearly every request there is
            self._next = now + self._interval
            return 0.0
        self._next = turn + self._interval
        wait = turn - self._ahead - now
        return wait if wait > _ROUNDING else 0.0


class Places:
    """At most so many of each; 0 is no limit, and what is None is not counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def one(self, whose: Hashable) -> Iterator[bool]:
        """Hold one as long as the block lasts; False when there is none free."""
        if whose is None or not self._most:
            yield True
        elif self._held[whose] >= self._most:
            yield False
        else:
            self._held[whose] += 1
            try:
                yield True
            finally:
                self._held[whose] -= 1
                if not self._held[whose]:
                    del self._held[whose]
