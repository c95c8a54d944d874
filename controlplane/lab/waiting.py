"""Waiting for something that only tells when asked."""

from __future__ import annotations

import time
from collections.abc import Callable

_POLL = 0.02  # seconds


def wait_until(condition: Callable[[], object], timeout: float, pause: float = _POLL) -> bool:
    """Ask `condition` every `pause` seconds, for at most `timeout`; whether it came to hold."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
