"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import time


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with its threads, ended ones too; OSError when it is gone.

    By the process's own clock, as clock_getcpuclockid(3) names it: to the nanosecond, where /proc/PID/stat
    counts in ticks of 10 ms.
    """
    return time.clock_gettime(~pid << 3 | 2)
