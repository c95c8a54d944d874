"""How many new streams are let in per second.

A restarted control plane meets all its proxies at once.  Their first answers are mostly shared
bytes, so the default is generous; what does not fit waits a little, and beyond that is sent away to
come again with Envoy's back-off.
"""

from __future__ import annotations


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
