"""The sink of all sources: raw objects become values, and values become writes.

Three rules keep a mesh standing while people edit it.  A refused object keeps its last valid value.
Of an object that stands in two places the first one (by file, then line) is used, and the other takes
over when it goes away.  A value equal to the one in force is no write at all.

Nothing is written before all expected sources have delivered what they had: the first batch is the
whole mesh, so that no proxy ever sees half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.kinds import Kind
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.duplicates import duplicate
from controlplane.sources.naming import Name, kind_of
from controlplane.store.debounce import Write
from controlplane.store.foreign import verdict
from controlplane.store.problems import ProblemBook
from controlplane.telemetry.wave import Seen

SLICE = 0.002
"""Seconds of parsing after which the event loop gets its turn."""


class Writer(Protocol):
    """Who takes the writes: the debouncer."""

    def add(self, writes: Sequence[Write], changes: Sequence[Seen]) -> None:
        """Take writes that belong together and the changes that they come from."""
        ...

    def flush(self) -> None:
        """Do not wait any longer with what was added."""
        ...


@dataclass(slots=True)
class _Copy:
    """An object at one place.  `value` is the last valid one, None when there never was one."""

    origin: Origin | None
    value: Any
    current: bool


class Stored(NamedTuple):
    """An object as /debug/configz shows it.

    `current` is false when the newest version was refused and `value` is an older one (None: there
    is none).  `used` is false for a copy that another place wins over.
    """

    name: Name
    origin: Origin | None
    value: Any
    current: bool
    used: bool


class Ingest:
    """The store of objects.  `expected` names the sources that must sync before anything is written."""

    def __init__(
        self,
        writer: Writer,
        *,
        expected: Collection[str] = (),
        book: ProblemBook | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._writer = writer
        self._book = book or ProblemBook()
        self._clock = clock or SystemClock()
        self._copies: dict[Name, dict[str, _Copy]] = {}
        self._served: dict[Name, Any] = {}
        # Touched but not yet compared with what is in force; outlives an interrupted apply.
        self._touched: dict[Name, list[Seen]] = {}
        self._order = asyncio.Lock()
        self._expected = set(expected)
        self._writes: list[Write] = []
        self._seen: list[Seen] = []
        self._synced = asyncio.Event()
        if not self._expected:
            self._synced.set()

    # -- the sink -------------------------------------------------------------------------------

    async def apply(self, changes: Sequence[Change]) -> None:
        """Take changes that belong together.  Yields to the loop while it parses; keeps callers in order."""
        async with self._order:
            breath = self._clock.monotonic()
            for change in changes:
                self._take(change)
                breath = await self._breathe(breath)
            await self._publish(breath)

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        """Replace the problems that a source has with one of its places."""
        self._book.report(("source", where), problems)

    def synced(self, source: str) -> None:
        """A source has delivered what it had; the last expected one opens the gate."""
        self._expected.discard(source)
        if self._expected or self._synced.is_set():
            return
        self._synced.set()
        self._hand_over()
        self._writer.flush()

    # -- reading --------------------------------------------------------------------------------

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The sources that have not synced yet."""
        return tuple(sorted(self._expected))

    async def wait_synced(self) -> None:
        """Return when all expected sources have delivered what they had."""
        await self._synced.wait()

    def problems(self) -> list[Problem]:
        """Everything wrong with files and objects by themselves, sorted."""
        return self._book.problems()

    def objects(self) -> Iterator[Stored]:
        """Every object at every place, sorted."""
        for name in sorted(self._copies):
            copies = self._copies[name]
            winner = _winner(copies)
            for place in sorted(copies):
                copy = copies[place]
                yield Stored(name, copy.origin, copy.value, copy.current, place == winner)

    def origin(self, name: Name) -> Origin | None:
        """Where the copy of an object stands that is used; None when it has none, or no place."""
        copies = self._copies.get(name, {})
        winner = _winner(copies)
        return None if winner is None else copies[winner].origin

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, change: Change) -> None:
        name = change.name
        kind = kind_of(name.group, name.kind)
        if kind is None:
            found = None if change.raw is None else verdict(name, change.origin)
            self._book.report(("object", name, change.place), (found,) if found else ())
            return
        copies = self._copies.setdefault(name, {})
        if change.raw is None:
            copies.pop(change.place, None)
            self._book.report(("object", name, change.place), ())
        else:
            self._parse(kind, name, change, copies)
        if not copies:
            del self._copies[name]
        self._touched.setdefault(name, []).append(self._see(change))

    def _parse(self, kind: Kind, name: Name, change: Change, copies: dict[str, _Copy]) -> None:
        parsed = kind.parse(change.raw, change.origin)
        before = copies.get(change.place)
        problems = parsed.problems
        value = parsed.value
        if value is None:
            value = before.value if before else None
            if value is not None:
                problems = tuple(_kept(problem) for problem in problems)
        copies[change.place] = _Copy(change.origin, value, current=parsed.value is not None)
        self._book.report(("object", name, change.place), problems)

    def _see(self, change: Change) -> Seen:
        file, line = change.origin or ("", None)
        origin = file if line is None else f"{file}:{line}"
        received = self._clock.monotonic()
        return Seen(change.id, change.kind, *change.key, origin, change.at, received)

    # -- giving out -----------------------------------------------------------------------------

    async def _publish(self, breath: float) -> None:
        """Write what differs from what is in force; handed over in one step, so nobody sees half of it."""
        while self._touched:
            name = next(iter(self._touched))
            self._settle(name, self._touched[name])
            del self._touched[name]
            breath = await self._breathe(breath)
        if self._synced.is_set():
            self._hand_over()

    def _settle(self, name: Name, seen: list[Seen]) -> None:
        copies = self._copies.get(name, {})
        winner = _winner(copies)
        self._report_duplicates(name, copies, winner)
        kind = kind_of(name.group, name.kind)
        value = copies[winner].value if winner is not None else None
        before = self._served.get(name)
        if value == before or kind is None:
            if winner is not None:
                # One object for equal values, not two.
                copies[winner].value = before
            return
        if value is None:
            del self._served[name]
        else:
            self._served[name] = value
        self._writes.append(Write(kind.table, name.key, value, before))
        self._seen.extend(seen)

    async def _breathe(self, last: float) -> float:
        """Give the loop its turn when a slice of time is used up; returns when the current one began."""
        now = self._clock.monotonic()
        if now - last < SLICE:
            return last
        await asyncio.sleep(0)
        return self._clock.monotonic()

    def _hand_over(self) -> None:
        writes, self._writes = self._writes, []
        seen, self._seen = self._seen, []
        if writes:
            self._writer.add(writes, seen)

    def _report_duplicates(self, name: Name, copies: dict[str, _Copy], winner: str | None) -> None:
        problems = []
        if winner is not None and len(copies) > 1:
            used = _show(copies[winner].origin)
            for place in sorted(copies):
                if place != winner:
                    line = (copies[place].origin or Origin(place, None)).line
                    problems.append(duplicate(name, place, line, used))
        self._book.report(("copies", name), problems)


def _winner(copies: dict[str, _Copy]) -> str | None:
    """The place whose copy is used: the first that has a value."""
    return min((place for place, copy in copies.items() if copy.value is not None), default=None)


def _show(origin: Origin | None) -> str:
    if origin is None:
        return "its other source"
    return origin.file if origin.line is None else f"{origin.file}:{origin.line}"


def _kept(problem: Problem) -> Problem:
    if problem.level != "error":
        return problem
    return replace(problem, message=f"{problem.message}; the last valid version stays in use")
