"""One file, read once: what it says now, compared with what it said before."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.model.problem import Problem
from controlplane.sources.directory.documents import Broken, Object, read_units
from controlplane.sources.directory.hold import Standing, stand
from controlplane.sources.directory.tree import Signature, reason, signature
from controlplane.sources.duplicates import duplicate
from controlplane.sources.naming import Name

MAX_BYTES = 32 * 1024 * 1024
"""A file larger than this is refused: a slip of the hand must not fill the memory."""


class Trouble(NamedTuple):
    """Why a file or directory cannot be looked at."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's content in force.  `worse`: something is broken, or gone that was there before."""

    signature: Signature
    digest: bytes
    standing: Standing
    worse: bool


@dataclass(slots=True)
class Known:
    """What is remembered of a file; `told` is what the sink has from it: content print and line by name."""

    signature: Signature
    digest: bytes = b""
    objects: tuple[Object, ...] = ()
    told: dict[Name, tuple[bytes, int]] = field(default_factory=dict)


class Told(NamedTuple):
    """One thing to tell the sink: an object's content, or None for an object that is gone."""

    name: Name
    line: int | None
    raw: Mapping[str, Any] | None


def load(path: Path, limit: int = MAX_BYTES) -> tuple[Signature, bytes] | Trouble:
    """The bytes of a regular file with the signature they belong to."""
    try:
        # Not blocking: something may have put a pipe where the file was.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return Trouble("it is not a regular file", "put a regular file there")
            data = file.read(limit + 1)
    except OSError as error:
        return Trouble(reason(error), "make it readable for the control plane")
    if len(data) > limit:
        size = max(len(data), status.st_size)
        return Trouble(f"it has {size} bytes, more than the limit of {limit}", "split it into several files")
    return signature(status), data


def read(root: Path, name: str, known: Known | None, limit: int = MAX_BYTES) -> Reading | Signature | Trouble:
    """A file's content, only its signature when the content is the known one, or why there is none."""
    loaded = load(root / name, limit)
    if isinstance(loaded, Trouble):
        return loaded
    mark, data = loaded
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if known is not None and known.digest == digest:
        return mark
    standing = stand(known.objects if known else (), read_units(data, name))
    names = {one.name for one in standing.objects}
    lost = known is not None and not names.issuperset(known.told)
    return Reading(mark, digest, standing, worse=lost or bool(standing.broken))


def accept(known: Known, reading: Reading) -> list[Told]:
    """Make a reading what is known, and return what the sink has to hear."""
    winners: dict[Name, Object] = {}
    for one in reading.standing.objects:
        winners.setdefault(one.name, one)
    news = [Told(name, None, None) for name in sorted(known.told.keys() - winners.keys())]
    told: dict[Name, tuple[bytes, int]] = {}
    for name, one in winners.items():
        if one.raw is None:
            # Held: the sink keeps what it has.
            if name in known.told:
                told[name] = known.told[name]
            continue
        told[name] = (one.print, one.line)
        if known.told.get(name) != told[name]:
            news.append(Told(name, one.line, one.raw))
    known.signature = reading.signature
    known.digest = reading.digest
    # Contents are not kept: the store has the values, and prints are enough to compare.
    known.objects = tuple(Object(one.name, one.line, one.print, None) for one in reading.standing.objects)
    known.told = told
    return news


def problems(file: str, standing: Standing) -> tuple[Problem, ...]:
    """What is wrong with a file as far as names and syntax go."""
    found = [_broken(file, unit, held) for unit, held in standing.broken]
    first: dict[Name, Object] = {}
    for one in standing.objects:
        winner = first.setdefault(one.name, one)
        if winner is not one:
            found.append(duplicate(one.name, file, one.line, f"{file}:{winner.line}"))
    return tuple(found)


def _broken(file: str, unit: Broken, held: tuple[Object, ...]) -> Problem:
    kept = ""
    if held:
        kept = f"; the last valid {' and '.join(str(one.name) for one in held)} stays in use"
    name = held[0].name if len(held) == 1 else None
    return Problem(
        "error",
        name.kind if name else "",
        name.key.namespace if name else "",
        name.key.name if name else "",
        file,
        unit.line,
        unit.field,
        unit.message + kept,
        unit.remedy,
    )
