"""The schedule meets the world: objects become files, on time, and it is written down when.

A file is written beside the directory and renamed into it, so nobody reads half of one.  The time of a
change is taken just before the rename.  Files hold JSON, which is YAML: writing it is fast, and every
reader of YAML takes it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock
from controlplane.lab.churn.workload import Edit, Event, Key, Reconnect, Workload, key_of
from controlplane.lab.latency.dataset import Change

AHEAD, AHEAD_EACH = 0.05, 0.002
"""Seconds before an event, and for each of its edits, in which files are made ready: the renames remain."""


class Directory:
    """A directory of one file per object, which a control plane watches."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._monotonic = monotonic
        # Beside it: the same file system, and nothing that a watcher looks at.
        self._desk = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        self._made = 0

    def file(self, key: Key) -> Path:
        """Where an object is: <kind>.<namespace>.<name>.yaml, "_" for no namespace."""
        return self.path / f"{key.kind.lower()}.{key.namespace or '_'}.{key.name}.yaml"

    def put(self, raw: Mapping[str, Any]) -> float:
        """Publish an object; returns the monotonic second just before."""
        return self.ready(raw)()

    def delete(self, raw: Mapping[str, Any]) -> float:
        """Remove an object that is there; returns the monotonic second just before."""
        file = self.file(key_of(raw))
        at = self._monotonic()
        file.unlink()
        return at

    def ready(self, raw: Mapping[str, Any]) -> Callable[[], float]:
        """Write an object down without publishing it; calling the result does that."""
        self._made += 1
        written, file = self._desk / str(self._made), self.file(key_of(raw))
        written.write_text(json.dumps(raw, ensure_ascii=False) + "\n", encoding="utf-8")

        def publish() -> float:
            # A rename stamps the file with the kernel's last timer tick, up to 10 ms ago.  But if the times
            # of this very tick have been looked at, Linux (6.13 and later) takes its fine clock.
            os.utime(written)
            written.stat()
            at = self._monotonic()
            written.replace(file)
            return at

        return publish

    def fill(self, objects: Iterable[Mapping[str, Any]], batch: int = 200, pause: float = 0.5) -> int:
        """Publish many objects, `pause` seconds after each batch; returns how many.

        Some versions of istiod hang when they are shown more than about a thousand at once.
        """
        rest, count = iter(objects), 0
        while some := [self.ready(raw) for raw in islice(rest, batch)]:
            if count and pause:
                time.sleep(pause)
            for publish in some:
                publish()
            count += len(some)
        return count

    def close(self) -> None:
        """Remove what is left of files that were never published."""
        for left in self._desk.iterdir():
            left.unlink()
        self._desk.rmdir()


async def play(
    workload: Workload,
    directory: Directory,
    clock: Clock,
    on_edit: Callable[[Change], None],
    on_storm: Callable[[Reconnect], None] | None = None,
) -> float:
    """Run the schedule in real time; returns the monotonic second at which it started.

    Times are absolute: an event that was late does not delay the next one.
    """
    start = clock.monotonic()
    steps: list[Event | Reconnect] = [*workload.events, *(workload.storms if on_storm else ())]
    for step in sorted(steps, key=lambda one: one.at):
        if isinstance(step, Event):
            ahead = AHEAD + AHEAD_EACH * len(step.changes)
            await clock.sleep(start + step.at - ahead - clock.monotonic())
            ready = [_ready(edit, directory) for edit in step.changes]
            await clock.sleep(start + step.at - clock.monotonic())
            # All renames before anybody is told: what happens at once shall be at once.
            times = [publish() for publish in ready]
            for edit, at in zip(step.changes, times, strict=True):
                on_edit(Change(edit.number, *edit.key, edit.action, step.at, at))
        elif on_storm is not None:
            await clock.sleep(start + step.at - clock.monotonic())
            on_storm(step)
    return start


def _ready(edit: Edit, directory: Directory) -> Callable[[], float]:
    if edit.action == "delete":
        return lambda: directory.delete(edit.raw)
    return directory.ready(edit.raw)
