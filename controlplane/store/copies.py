"""One object at all its places: which copy is used, and what is said of those that are not valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from controlplane.model.kinds.refused import Refused
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.naming import Name


@dataclass(slots=True)
class Copy:
    """An object at one place.  `value` is the last valid one, None when there never was one.

    `problems` are those of the newest version.  `change` brought it, and is there for guarding kinds only.
    `fallback`: the value is not from this place, or from before a restart.  `refused` is what checks are told
    of a version that is not valid.
    """

    origin: Origin | None
    value: Any
    current: bool
    problems: tuple[Problem, ...] = ()
    change: Change | None = None
    fallback: bool = False
    refused: Refused | None = None


Copies: TypeAlias = dict[str, Copy]
"""By place."""


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


def winning(copies: Mapping[str, Copy]) -> str | None:
    """The place whose copy is used: the first that has a value."""
    return min((place for place, copy in copies.items() if copy.value is not None), default=None)


def shown(origin: Origin | None) -> str:
    """A place as people write it."""
    if origin is None:
        return "its other source"
    return origin.file if origin.line is None else f"{origin.file}:{origin.line}"


def told(copy: Copy, copies: Mapping[str, Copy], *, restarted: bool) -> tuple[Problem, ...]:
    """What is wrong with a copy, and what is in force instead.

    `restarted`: what is fallen back on was in force before the restart.
    """
    if copy.current:
        return copy.problems
    what = _instead(copy, copies, restarted=restarted)
    return tuple(
        replace(one, message=f"{one.message}{what}") if one.level == "error" else one for one in copy.problems
    )


def _instead(copy: Copy, copies: Mapping[str, Copy], *, restarted: bool) -> str:
    if copy.fallback and restarted:
        return "; the last valid version, from before the restart, stays in use"
    if copy.fallback:
        return "; the last valid version, from its former place, stays in use"
    if copy.value is not None:
        return "; the last valid version stays in use"
    if copy.change is not None and winning(copies) is None:
        return "; this policy is NOT in force, and no version of it is"
    return ""


def lost(name: Name, origin: Origin | None) -> Problem:
    """The Problem of an object whose file cannot be read since the start."""
    file, line = origin or Origin("", None)
    message = "what stands here now cannot be read"
    return Problem("error", name.kind, *name.key, file, line, "", message, "mend the file, or remove it")
