"""The last valid version of every object that guards something, by name.

A policy that is refused must not open what it closed.  While a control plane runs, its store has the
version before.  This is for the rest: a restart, a file that was broken before it was read for the first
time, an object that moved and was misspelled on the way.  A keeper, which is told of every version that
comes into force, gives them back after a restart as changes at places that begin with KEPT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.kept import KEPT
from controlplane.sources.naming import Name, kind_of
from controlplane.store.copies import Copies, winning


class Keeper(Protocol):
    """Who remembers longer than the process lives."""

    def put(self, name: Name, origin: Origin | None, raw: Mapping[str, Any]) -> None:
        """This version is in force now."""
        ...

    def drop(self, name: Name) -> None:
        """The object is gone, and meant to be."""
        ...


class Entry(NamedTuple):
    """`old`: from before the restart.  `origin` is where the object stood then, or stands."""

    value: Any
    origin: Origin | None
    change: Change
    old: bool


class LastValid:
    """Only kinds that are `guarding` are asked about; others are never there."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        self._keeper = keeper
        self._entries: dict[Name, Entry] = {}
        # By what a source calls its place: the files and folders that could not be read.
        self._unread: dict[str, frozenset[str]] = {}

    def give_back(self, change: Change) -> None:
        """A keeper's change: what was in force before the restart."""
        kind = kind_of(change.name.group, change.kind)
        if change.raw is None or kind is None or not kind.guarding or change.name in self._entries:
            return
        value = kind.parse(change.raw).value
        if value is not None:
            line = change.origin.line if change.origin else None
            origin = Origin(change.place.removeprefix(KEPT), line)
            self._entries[change.name] = Entry(value, origin, change, old=True)

    def _put(self, value: Any, change: Change) -> None:
        before = self._entries.get(change.name)
        self._entries[change.name] = Entry(value, change.origin, change, old=False)
        same = before is not None and before.value == value and _file(before.origin) == _file(change.origin)
        if self._keeper is not None and change.raw is not None and not same:
            self._keeper.put(change.name, change.origin, change.raw)

    def settle(self, name: Name, copies: Copies) -> bool:
        """Learn from what is valid, or give a value to what is not; whether it is from before the restart."""
        for copy in copies.values():
            if copy.fallback:
                copy.value, copy.fallback = None, False
        winner = winning(copies)
        if not copies:
            self._drop(name)
        elif winner is not None:
            change = copies[winner].change
            if copies[winner].current and change is not None:
                self._put(copies[winner].value, change)
        elif name in self._entries:
            first = copies[min(copies)]
            first.value, first.fallback = self._entries[name].value, True
        return name in self._entries and self._entries[name].old

    def _drop(self, name: Name) -> None:
        if self._entries.pop(name, None) is not None and self._keeper is not None:
            self._keeper.drop(name)

    def unseen(self) -> list[tuple[Name, Entry]]:
        """What is remembered from before the restart and was not valid since, sorted."""
        return [(name, self._entries[name]) for name in sorted(self._entries) if self._entries[name].old]

    # -- files that cannot be read --------------------------------------------------------------

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        """What a source says of one of its places."""
        places = frozenset(one.file for one in problems if one.level == "error" and _unreadable(one))
        self._unread.pop(where, None)
        if places:
            self._unread[where] = places

    def unread(self, entry: Entry) -> bool:
        """Whether the object may still stand where it stood, in what nobody can read now."""
        file = _file(entry.origin)
        return any(
            place in ("", file) or file.startswith(f"{place}/")
            for places in self._unread.values()
            for place in places
        )


def _file(origin: Origin | None) -> str:
    return origin.file if origin else ""


def _unreadable(problem: Problem) -> bool:
    # What is said twice was read.
    return not (problem.kind and problem.field == "metadata.name")
