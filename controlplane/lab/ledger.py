"""Which processes are ours: written down as they start, so that a crash leaves no orphan unknown.

A pid alone proves nothing, it is given out again.  An entry therefore holds the start time that the
kernel recorded (ticks since boot) and the boot itself; only a process that matches all three is ever
signalled, through a pidfd that pins it between the check and the signal.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One process: `start` in clock ticks since the boot `boot`, `name` for people."""

    pid: int
    start: int
    boot: str
    name: str


def entry_of(pid: int, name: str) -> Entry | None:
    """The entry of a living process, None when there is none with this pid (zombies do not count)."""
    start = _start_ticks(pid)
    return None if start is None else Entry(pid, start, boot_id(), name)


def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def append(path: Path, entry: Entry) -> None:
    """Add one line of JSON to the ledger at `path`."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(entry)) + "\n")


def read(path: Path) -> tuple[Entry, ...]:
    """All entries; a line that was cut off by a crash is left out, an absent file is empty."""
    if not path.exists():
        return ()
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return tuple(entries)


def end(entries: Iterable[Entry], grace: float) -> tuple[Entry, ...]:
    """Ask every living entry to end (SIGTERM), after `grace` seconds make it (SIGKILL); returns the latter.

    Entries whose process is gone, or whose pid belongs to another process by now, are passed over.
    """
    with_fd = [(entry, descriptor) for entry in entries if (descriptor := _pin(entry)) is not None]
    try:
        for _, descriptor in with_fd:
            _signal(descriptor, signal.SIGTERM)
        killed = _wait(with_fd, grace)
        for _, descriptor in killed:
            _signal(descriptor, signal.SIGKILL)
        _wait(killed, 5.0)
    finally:
        for _, descriptor in with_fd:
            os.close(descriptor)
    return tuple(entry for entry, _ in killed)


def _pin(entry: Entry) -> int | None:
    try:
        descriptor = os.pidfd_open(entry.pid)
    except ProcessLookupError:
        return None
    # Checked after the pidfd is open: from here on it names the same process whatever happens.
    if entry_of(entry.pid, entry.name) == entry:
        return descriptor
    os.close(descriptor)
    return None


def _signal(descriptor: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return  # it ended by itself: what was wanted


def _wait(pinned: list[tuple[Entry, int]], seconds: float) -> list[tuple[Entry, int]]:
    # A pidfd becomes readable when its process ends.
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for _, descriptor in pinned:
        poll.register(descriptor, select.POLLIN)
    left = {descriptor: entry for entry, descriptor in pinned}
    while left and (remaining := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining * 1000):
            poll.unregister(descriptor)
            del left[descriptor]
    return [(entry, descriptor) for descriptor, entry in left.items()]


def _start_ticks(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, so count from its end: state is field 3, start 22.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
