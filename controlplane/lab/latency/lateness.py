"""How late a process may have looked at its clock: the scheduling error of a stamp.

A process on one event loop takes its stamps between pieces of work.  While it is busy it does not see what
has happened meanwhile: a response that arrived at the beginning of a busy stretch is stamped when its turn
comes.  So a stamp that was taken inside a stretch is late by at most the time since the stretch began.  A
stamp that was taken by an idle process is not late.

Stretches are found in what was recorded anyway: moments at which the process was certainly at work.  Where
two of them are less than `GAP` apart, it is taken to have been busy in between.  To that comes the time for
which the kernel let the process wait for a core although it could have run, which the kernel counts itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from controlplane.lab.latency.dataset import Receipt, Sample

GAP = 0.001
"""Seconds: work that is this close together is one stretch.  It errs towards stretches that are too long."""

Interval = tuple[float, float]


class Stretches:
    """Busy stretches of one process, apart from each other and in order."""

    def __init__(self, work: Iterable[Interval], gap: float = GAP) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []
        for begin, end in sorted(work):
            if self._ends and begin - self._ends[-1] <= gap:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def late(self, at: float) -> float:
        """By how much a stamp taken at this moment may be late, in seconds."""
        index = bisect_right(self._begins, at) - 1
        return at - self._begins[index] if index >= 0 and at <= self._ends[index] else 0.0


def of_fleet(
    receipts: Iterable[Receipt], ack_delay: float = 0.0, turns: Iterable[tuple[int, float, float]] = ()
) -> Stretches:
    """From the fleet's own moments: it is at work from a receipt until the answer is handed over.

    `ack_delay` is how long it was told to hold its answers back; `turns` are its loop's long turns: which
    process, when it began, how many seconds it took.
    """
    work: list[Interval] = [(began, began + seconds) for _, began, seconds in turns]
    if not ack_delay:
        work += [(one.at, max(one.at, one.answered or one.at)) for one in receipts]
    return Stretches([*work, *((one.at, one.at) for one in receipts)])


class Waiting:
    """How long a process waited for a core, from the counter that was sampled while it ran."""

    def __init__(self, samples: Iterable[Sample], process: str) -> None:
        mine = sorted((one for one in samples if one.process == process), key=lambda one: one.at)
        self._at: Sequence[float] = [one.at for one in mine]
        self._total: Sequence[float] = [one.waiting for one in mine]

    def between(self, begin: float, end: float) -> float:
        """At most this many seconds of [begin, end], and never more than its length."""
        if not self._at:
            return 0.0
        first = max(0, bisect_right(self._at, begin) - 1)
        last = min(len(self._at) - 1, bisect_left(self._at, end))
        return min(max(0.0, end - begin), self._total[last] - self._total[first])
