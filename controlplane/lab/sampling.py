"""How the processes of a run are doing while it runs, read from the kernel by a thread of their own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from controlplane.lab.latency.dataset import Sample
from controlplane.lab.latency.pushlog import PushLog
from controlplane.lab.processes import cpu_seconds

EVERY = 0.05
"""Seconds between two looks: the finer, the sharper is what is known about waiting for a core."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def look(name: str, pids: Sequence[int]) -> Sample | None:
    """One sample of a process, or of several as if they were one; None when all are gone."""
    at, cpu, pages, waiting, alive = time.monotonic(), 0.0, 0, 0, 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            waiting += _waiting(pid)
            cpu += cpu_seconds(pid)
        except OSError:
            continue
        alive += 1
    return Sample(at, name, cpu, pages * _PAGE, waiting / 1e9, None, None) if alive else None


def _waiting(pid: int) -> int:
    """Nanoseconds that the threads of a process were runnable without a core."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            total += int((thread / "schedstat").read_text().split()[1])
    return total


class Sampler:
    """Samples processes by name from the beginning of the block to its end."""

    def __init__(self, processes: Mapping[str, Sequence[int]], every: float = EVERY) -> None:
        self.samples: list[Sample] = []
        self._processes = {name: tuple(pids) for name, pids in processes.items()}
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            found = (look(name, pids) for name, pids in self._processes.items())
            self.samples += [sample for sample in found if sample is not None]
            if self._stop.wait(self._every):
                return


def with_pauses(samples: Sequence[Sample], log: PushLog, process: str = "server") -> list[Sample]:
    """The samples, with the server's own longest loop lag and collection of each interval."""
    found: list[Sample] = []
    pauses = iter(log.pauses)
    pause = next(pauses, None)
    for sample in samples:
        if sample.process != process:
            found.append(sample)
            continue
        lag = gc = 0.0
        while pause is not None and pause.at <= sample.at:
            if pause.generation is None:
                lag = max(lag, pause.seconds)
            else:
                gc = max(gc, pause.seconds)
            pause = next(pauses, None)
        found.append(sample._replace(lag=lag, gc=gc))
    return found
