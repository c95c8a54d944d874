"""The sink of all sources: raw objects become values, and values become writes.

Three rules keep a mesh standing while people edit it.  A refused object keeps its last valid value; if it
is of a kind that guards something, over a restart too, and wherever it stands now (see `last_valid`).
Of an object that stands in two places the first one (by file, then line) is used, and the other takes
over when it goes away.  A value equal to the one in force is no write at all.

Nothing is written before all expected sources have delivered what they had: the first batch is the
whole mesh, so that no proxy ever sees half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.kinds import Kind, Parsed
from controlplane.model.kinds.refused import Refused, refused_from, refused_key, refused_objects
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.duplicates import duplicate
from controlplane.sources.kept import KEPT
from controlplane.sources.naming import Name, kind_of
from controlplane.store.copies import Copies, Copy, Stored, lost, shown, told, winning
from controlplane.store.debounce import Write
from controlplane.store.foreign import verdict
from controlplane.store.last_valid import Keeper, LastValid
from controlplane.store.problems import ProblemBook
from controlplane.telemetry.wave import Seen

SLICE = 0.002
"""Seconds of parsing after which the event loop gets its turn."""


Judge: TypeAlias = Callable[[Kind, Parsed, Origin | None], Parsed]
"""What those say of an object who know more than its kind: the same, or refused."""


class Writer(Protocol):
    """Who takes the writes: the debouncer."""

    def add(self, writes: Sequence[Write], changes: Sequence[Seen]) -> None:
        """Take writes that belong together and the changes that they come from."""
        ...

    def flush(self) -> None:
        """Do not wait any longer with what was added."""
        ...


class Ingest:
    """The store of objects.  `expected` names the sources that must sync before anything is written."""

    def __init__(
        self,
        writer: Writer,
        *,
        expected: Collection[str] = (),
        clock: Clock | None = None,
        keeper: Keeper | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._writer = writer
        self._judge = judge
        self._book = ProblemBook()
        self._clock = clock or SystemClock()
        self._last = LastValid(keeper)
        self._powerless: set[Name] = set()
        self._refused: dict[Name, Refused] = {}
        self._copies: dict[Name, Copies] = {}
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
        self._last.report(where, problems)
        if self._synced.is_set():
            self._settle_lost()
            if not self._order.locked():
                self._hand_over()  # Else who is applying something does, when it is whole.

    def synced(self, source: str) -> None:
        """A source has delivered what it had; the last expected one opens the gate."""
        self._expected.discard(source)
        if self._expected or self._synced.is_set():
            return
        self._synced.set()
        self._settle_lost()
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

    def powerless(self, kind: str) -> int:
        """How many objects of a kind are there without a version that is in force."""
        return sum(name.kind == kind for name in self._powerless)

    def problems(self) -> list[Problem]:
        """Everything wrong with files and objects by themselves, sorted."""
        return self._book.problems()

    def objects(self) -> Iterator[Stored]:
        """Every object at every place, sorted."""
        for name in sorted(self._copies):
            copies = self._copies[name]
            winner = winning(copies)
            for place in sorted(copies):
                copy = copies[place]
                yield Stored(name, copy.origin, copy.value, copy.current, place == winner)

    def origin(self, name: Name) -> Origin | None:
        """Where the copy of an object stands that is used; None when it has none, or no place."""
        copies = self._copies.get(name, {})
        winner = winning(copies)
        return None if winner is None else copies[winner].origin

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, change: Change) -> None:
        name = change.name
        kind = kind_of(name.group, name.kind)
        if kind is None:
            found = None if change.raw is None else verdict(name, change.origin)
            self._book.report(("object", name, change.place), (found,) if found else ())
            return
        if change.place.startswith(KEPT):
            self._last.give_back(change)
            return
        copies = self._copies.setdefault(name, {})
        if change.raw is None:
            self._remove(name, copies, change.place)
        else:
            self._remove_lost(name, copies)
            self._parse(kind, name, change, copies)
        if not copies:
            del self._copies[name]
        self._touched.setdefault(name, []).append(self._see(change))

    def _parse(self, kind: Kind, name: Name, change: Change, copies: Copies) -> None:
        parsed = kind.parse(change.raw, change.origin)
        if self._judge is not None:
            parsed = self._judge(kind, parsed, change.origin)
        before = copies.get(change.place)
        by = change if kind.guarding else None
        copy = Copy(change.origin, parsed.value, parsed.value is not None, parsed.problems, by)
        copy.refused = None if copy.current else refused_from(name.kind, name.key, change.raw)
        if parsed.value is None and before is not None:
            copy.value = before.value
        copies[change.place] = copy

    def _remove(self, name: Name, copies: Copies, place: str) -> None:
        copies.pop(place, None)
        self._book.report(("object", name, place), ())

    def _remove_lost(self, name: Name, copies: Copies) -> None:
        """The object is there again, well or not, or it is gone: what stood in for it goes."""
        if KEPT in copies:
            self._remove(name, copies, KEPT)

    def _settle_lost(self) -> None:
        """What nobody delivered is gone, but for what may stand in a file that cannot be read."""
        for name, entry in self._last.unseen():
            copies = self._copies.setdefault(name, {})
            unread, standing = self._last.unread(entry), bool(copies)
            if unread and not copies:
                copies[KEPT] = Copy(entry.origin, None, False, (lost(name, entry.origin),))
            elif not unread:
                self._remove_lost(name, copies)
            if not copies:
                del self._copies[name]
            if not copies or not standing:
                self._settle(name, [self._see(entry.change)])

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
        kind = kind_of(name.group, name.kind)
        restarted = kind is not None and kind.guarding and self._last.settle(name, copies)
        winner = winning(copies)
        self._report_duplicates(name, copies, winner)
        for place, copy in copies.items():
            self._book.report(("object", name, place), told(copy, copies, restarted=restarted))
        (self._powerless.add if copies and winner is None else self._powerless.discard)(name)
        value = copies[winner].value if winner is not None else None
        self._note_refused(name, copies, winner)
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

    def _note_refused(self, name: Name, copies: Copies, winner: str | None) -> None:
        """Tell the checks which objects are there and have no version in use."""
        value: Refused | None = None
        if winner is None:
            noted = (copies[place].refused for place in sorted(copies))
            value = next((one for one in noted if one is not None), None)
        before = self._refused.pop(name, None)
        if value is not None:
            self._refused[name] = value
        if value != before:
            self._writes.append(Write(refused_objects, refused_key(name.kind, name.key), value, before))

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

    def _report_duplicates(self, name: Name, copies: Copies, winner: str | None) -> None:
        problems = []
        if winner is not None and len(copies) > 1:
            used = shown(copies[winner].origin)
            for place in sorted(copies):
                if place != winner:
                    line = (copies[place].origin or Origin(place, None)).line
                    problems.append(duplicate(name, place, line, used))
        self._book.report(("copies", name), problems)
