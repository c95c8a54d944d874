"""Waiting for something that only tells when asked."""

from __future__ import annotations

import time
from collections.abc import Callable

_POLL = 0.02  # seconds


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask `condition` every 20 ms for at most `timeout` seconds; whether it became true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True
