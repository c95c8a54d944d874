"""What changed in the tree since the last look, and what of it is believed.

Good news is believed at once, bad news when it is still true a moment later.  A file that lost an
object or broke may be in the middle of being saved (emptied and then written; renamed to a backup
and then created), and a file that is gone may be on its way to another name: acting at once would
take a route away for some milliseconds.  So such a reading waits for `settle` seconds; a file that
is found under a new name is renamed in one step.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.directory import reading
from controlplane.sources.directory.presence import Presence
from controlplane.sources.directory.reading import MAX_BYTES, Known, Reading, Told, Trouble
from controlplane.sources.directory.tree import Look, Signature, is_config, look, within

FRESH = 5.0
"""A file's change time at most so many seconds ago is taken for the time of the event.

It is that of the kernel's last tick: up to 7 ms too early (measured), never too late.
"""
_LONGEST_LOOK = 1.0
"""Seconds; a change time further ahead is that of another clock."""

STORM = 50
"""Bad news that keeps changing is believed after so many times `settle`, however restless the tree is."""


class Moment(NamedTuple):
    """Now, on both clocks; seconds."""

    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class Limits:
    """`settle`: seconds before bad news is believed; `grace`: the same for the losses of a directory
    that was away; `max_bytes`: the largest file that is read.
    """

    settle: float = 0.1
    grace: float = 2.0
    max_bytes: int = MAX_BYTES


@dataclass(slots=True)
class Outcome:
    """What one look brought: changes that belong together, and problems by place (none = cleared).

    `due`: when to look again for what is in doubt (monotonic seconds), None = no need.
    """

    changes: list[Change] = field(default_factory=list)
    reports: list[tuple[str, tuple[Problem, ...]]] = field(default_factory=list)
    due: float | None = None


class _Doubt(NamedTuple):
    """Bad news, first seen at `since`; `reading` None = the file is gone.  Monotonic seconds."""

    since: float
    due: float
    reading: Reading | None


class Follower:
    """The state of one watched tree; used by one thread at a time.

    `started` is true after the first look at an existing directory.  `stop` may be set from another
    thread to leave a long look early; its outcome is worthless then.
    """

    def __init__(
        self, root: Path, ids: Iterator[int], *, name: str = "directory", limits: Limits | None = None
    ) -> None:
        self.root = root
        self.started = False
        self.stop = threading.Event()
        self._ids = ids
        self._name = name
        self._limits = limits or Limits()
        self._presence = Presence(root, self._limits.grace)
        self._known: dict[str, Known] = {}
        self._doubts: dict[str, _Doubt] = {}
        self._last_loss = float("-inf")
        self._arrived: set[tuple[int, int]] = set()
        self._hidden: dict[str, Trouble] = {}
        self._wrong: dict[str, tuple[Problem, ...]] = {}
        self._reported: dict[str, tuple[Problem, ...]] = {}

    def end(self) -> None:
        """The directory itself was removed or moved; the next look may find another one."""
        self._presence.end()

    def examine(self, places: Collection[str], now: Moment) -> Outcome:
        """Look at these places ("" = everything) and at the doubts that are due."""
        outcome = Outcome()
        self._arrived.clear()
        another = self._presence.check(now.monotonic)
        if self._presence.trouble is None:
            for place in [""] if another else _outermost(places):
                self._compare(place, look(self.root, place), now, outcome)
            self._rename(now, outcome)
            self._confirm(now, outcome)
            self.started = True
            outcome.due = self._due()
        self._report(outcome)
        return outcome

    # -- looking --------------------------------------------------------------------------------

    def _compare(self, place: str, found: Look, now: Moment, outcome: Outcome) -> None:
        for hidden in [name for name in self._hidden if within(name, place)]:
            del self._hidden[hidden]
        self._hide(found)
        moving = False
        for name, mark in found.files.items():
            if self.stop.is_set():
                return
            known, doubt = self._known.get(name), self._doubts.get(name)
            seen = doubt.reading.signature if doubt and doubt.reading else known.signature if known else None
            if seen != mark or (doubt and doubt.reading is None):
                moving = self._read(name, now, outcome) or moving
        if found.files:
            self._presence.filled(now.monotonic, moving=moving)
        for name in self._known_within(place):
            doubt = self._doubts.get(name)
            missing = name not in found.files and not found.hides(name)
            if missing and (doubt is None or doubt.reading is not None):
                self._doubt(name, now, None)
                self._last_loss = now.monotonic

    def _known_within(self, place: str) -> list[str]:
        # The usual place is one file: that must not cost a walk over all of them.
        if place in self._known:
            return [place]
        return [name for name in self._known if within(name, place)]

    def _hide(self, found: Look) -> None:
        for hidden, why in found.hidden.items():
            self._hidden[hidden] = Trouble(why, "make it readable, or remove it")

    def _read(self, name: str, now: Moment, outcome: Outcome, *, believe: bool = False) -> bool:
        """Read one file; returns whether it has something new."""
        known = self._known.get(name)
        result = reading.read(self.root, name, known, self._limits.max_bytes)
        if isinstance(result, Trouble):
            self._hidden[name] = result
            self._doubts.pop(name, None)
            return False
        if isinstance(result, Signature):
            # As it was before whatever made us doubt.
            self._doubts.pop(name, None)
            if known is not None:
                known.signature = result
            return False
        if result.worse and self.started and not believe:
            self._doubt(name, now, result)
        else:
            self._accept(name, result, now, outcome)
        return True

    def _doubt(self, name: str, now: Moment, what: Reading | None) -> None:
        before = self._doubts.get(name)
        since = before.since if before else now.monotonic
        self._doubts[name] = _Doubt(since, now.monotonic + self._limits.settle, what)

    # -- believing ------------------------------------------------------------------------------

    def _accept(self, name: str, result: Reading, now: Moment, outcome: Outcome) -> None:
        doubt = self._doubts.pop(name, None)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Known(result.signature)
            self._arrived.add(result.signature[:2])
        news = reading.accept(known, result)
        at = self._event_time(result.signature, doubt, now)
        outcome.changes.extend(self._change(name, told, at) for told in news)
        self._wrong[name] = reading.problems(name, result.standing)

    def _forget(self, name: str, at: float, outcome: Outcome) -> None:
        known = self._known.pop(name)
        self._doubts.pop(name, None)
        self._wrong.pop(name, None)
        gone = (Told(one, None, None) for one in sorted(known.told))
        outcome.changes.extend(self._change(name, told, at) for told in gone)

    def _rename(self, now: Moment, outcome: Outcome) -> None:
        """Forget missing files that are there under another name since this look."""
        for name in sorted(self._doubts):
            doubt = self._doubts[name]
            if doubt.reading is None and self._known[name].signature[:2] in self._arrived:
                self._forget(name, doubt.since, outcome)

    def _confirm(self, now: Moment, outcome: Outcome) -> None:
        """Look again at doubtful files whose time has come, and believe what is still so."""
        for name in sorted(self._doubts):
            if self.stop.is_set():
                return
            doubt = self._doubts[name]
            if self._due_of(doubt) > now.monotonic:
                continue
            found = look(self.root, name)
            if name in found.files:
                if doubt.reading is not None and doubt.reading.signature == found.files[name]:
                    self._accept(name, doubt.reading, now, outcome)
                else:
                    self._read(name, now, outcome, believe=self._storm_of(doubt) <= now.monotonic)
            elif found.hides(name):
                del self._doubts[name]
                self._hide(found)
            elif doubt.reading is None and name in self._known:
                self._forget(name, doubt.since, outcome)
            elif name in self._known:
                self._doubt(name, now, None)
            else:
                # New, broken and gone again.
                del self._doubts[name]

    def _due_of(self, doubt: _Doubt) -> float:
        if doubt.reading is not None:
            return min(doubt.due, self._storm_of(doubt))
        # Files that vanish one after the other may be the directory's own end.
        quiet = max(doubt.due, self._last_loss + self._limits.settle)
        return max(min(quiet, self._storm_of(doubt)), self._presence.losses_count_from())

    def _storm_of(self, doubt: _Doubt) -> float:
        return doubt.since + STORM * self._limits.settle

    def _due(self) -> float | None:
        due = min(map(self._due_of, self._doubts.values()), default=float("inf"))
        return None if due == float("inf") else due

    # -- telling --------------------------------------------------------------------------------

    def _change(self, file: str, told: Told, at: float) -> Change:
        origin = Origin(file, told.line)
        return Change(told.name.kind, told.name.key, told.raw, origin, next(self._ids), at, told.name.group)

    def _event_time(self, mark: Signature, doubt: _Doubt | None, now: Moment) -> float:
        """When the file got this content, if its change time can be trusted to say so."""
        age = now.wall - mark.changed / 1e9
        # Less than nothing: it changed while this look, which began at `now`, was on its way to it.
        if self.started and -_LONGEST_LOOK <= age <= FRESH:
            return now.monotonic - age
        return doubt.since if doubt else now.monotonic

    def _report(self, outcome: Outcome) -> None:
        current = {name: found for name, found in self._wrong.items() if found}
        if self._presence.trouble is not None:
            what = "the directory cannot be read: " + self._presence.trouble.reason
            current[""] = (_problem("", what, self._presence.trouble.remedy),)
        elif self._presence.hollow and self._known:
            what = "the directory came back empty; what was read from it before stays in use"
            remedy = "put the files back (to really remove everything, restart on the empty directory)"
            current[""] = (_problem("", what, remedy),)
        for place, trouble in self._hidden.items():
            # A dangling link that never led to a file of ours is nobody's business.
            if is_config(place.rpartition("/")[2]) or any(within(name, place) for name in self._known):
                what = f"cannot be read: {trouble.reason}; what was read from it before stays in use"
                current[place] = (_problem(place, what, trouble.remedy), *current.get(place, ()))
        for place in sorted(current.keys() | self._reported.keys()):
            if current.get(place, ()) != self._reported.get(place, ()):
                outcome.reports.append((f"{self._name}:{place}", current.get(place, ())))
        self._reported = current


def _problem(file: str, message: str, remedy: str) -> Problem:
    return Problem("error", "", "", "", file, None, "", message, remedy)


def _outermost(places: Collection[str]) -> list[str]:
    """These places without those inside others, sorted."""
    given = set(places)
    if "" in given:
        return [""]
    return sorted(
        place for place in given if not any(str(above) in given for above in PurePosixPath(place).parents)
    )
