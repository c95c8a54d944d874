"""A file of lines that is written beside the work, never in its way.

Whoever has something to note appends it to a list: that is all that it costs there.  A task takes the list
twice a second and hands it to a thread of its own, which makes lines of it and writes them.  The thread
lets go of the interpreter every few lines, so that the loop never waits long for it.

A journal is an aid.  When its file cannot be written any more, or the disk is slower than the process, it
ends with a word in the log, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from controlplane.base.errors import EnvironmentUnfit

EVERY = 0.5
"""Seconds between two looks at what was noted."""
LIMIT = 1_000_000
"""Entries that may wait for the disk."""

_CHUNK, _BREATH = 32, 0.0002
"""So many lines are made at a stretch (0.3 ms), and then the loop may have the interpreter."""

_log = logging.getLogger(__name__)

Render: TypeAlias = Callable[[Sequence[Any]], Iterable[str]]
"""Makes lines (without their ends) of entries; called in the thread, in order, never twice at a time."""


class Journal:
    """Entries become lines in `path`, compressed when its name ends with ".gz".

    `name` is what the log calls it.  `open` it, let `run` run, and `close` it when nobody adds any more;
    `last` makes the entry that stands at the end of a journal that was closed well.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        render: Render,
        *,
        limit: int = LIMIT,
        last: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.failed = ""
        """Why the journal ended before its time; "" while it has not."""
        self._render = render
        self._limit = limit
        self._last = last
        self._entries: list[Any] = []
        self._file: TextIO | None = None
        self._closing = ExitStack()
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self.add = self._entries.append
        """Note an entry; from any thread, in the middle of anything."""

    def open(self) -> None:
        """Make the file, for its owner only, or empty it; EnvironmentUnfit when that cannot be done."""
        try:
            self._file = self._closing.enter_context(self._made())
        except OSError as error:
            raise EnvironmentUnfit(f"the {self.name} cannot be written: {error}") from error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)

    def _made(self) -> TextIO:
        raw = open(self.path, "wb", opener=_private)  # noqa: SIM115 - closed with the journal
        self._closing.push(raw)
        packed = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) if self.path.suffix == ".gz" else raw
        return io.TextIOWrapper(packed, encoding="utf-8")

    async def run(self) -> None:
        """Write what was noted, every `EVERY` seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            self.flush()

    def flush(self) -> None:
        """Hand over what was noted, unless the thread is still at the last of it."""
        writing = self._writing
        if writing is not None and not writing.done():
            if len(self._entries) <= self._limit:
                return
            self._fail("the disk is too slow")
        elif writing is not None:
            self._check(writing)
        taken = self._take()
        if taken and self._thread is not None and not self.failed:
            self._writing = self._thread.submit(self._write, taken)

    def close(self) -> None:
        """Write what is left and close the file; waits for the disk."""
        if self._thread is None:
            return
        if self._last is not None:
            self.add(self._last())
        last = [self._thread.submit(self._write, self._take()), self._thread.submit(self._close)]
        self._thread.shutdown()
        self._thread = None
        for done in filter(None, (self._writing, *last)):
            self._check(done)

    def _check(self, writing: Future[None]) -> None:
        error = writing.exception()
        if error is not None:
            self._fail(f"{type(error).__name__}: {error}")

    def _take(self) -> list[Any]:
        # Others may add meanwhile (a garbage collection in the thread does), but only at the end.
        taken = self._entries[:]
        del self._entries[: len(taken)]
        return taken

    # -- in the thread --------------------------------------------------------------------------

    def _write(self, entries: Sequence[Any]) -> None:
        if self.failed or self._file is None:
            return
        for lines in _chunks(self._render(entries)):
            self._file.write("".join(f"{line}\n" for line in lines))
            time.sleep(_BREATH)
        self._file.flush()

    def _close(self) -> None:
        self._file = None
        self._closing.close()

    def _fail(self, reason: str) -> None:
        if not self.failed:
            self.failed = reason
            _log.error("the %s ends here", self.name, extra={"file": str(self.path), "reason": reason})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    lines = iter(lines)
    while chunk := list(itertools.islice(lines, _CHUNK)):
        yield chunk
