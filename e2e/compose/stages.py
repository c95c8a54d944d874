"""How long each stage took, printed when it ends and again at the end of the run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Name, seconds, and a remark of the test, in the order in which they ended.
TOOK: list[tuple[str, float, str]] = []
FACTS: list[str] = []


@contextmanager
def stage(name: str) -> Iterator[list[str]]:
    """Measure the block; what is appended to the list it gets stands beside the time."""
    remarks: list[str] = []
    started = time.monotonic()
    try:
        yield remarks
    finally:
        seconds = time.monotonic() - started
        TOOK.append((name, seconds, "; ".join(remarks)))
        print(f"{name}: {seconds:.1f} s {'; '.join(remarks)}")


def lines() -> list[str]:
    """The table for the end of the run."""
    width = max((len(name) for name, _, _ in TOOK), default=0)
    table = [f"{name:<{width}}  {seconds:6.1f} s  {remark}".rstrip() for name, seconds, remark in TOOK]
    return table + FACTS
