"""What an earlier run chose, where a plain file is meshed again into the file that this run wrote.

A plain file keeps no flags.  Whoever meshes it again, because it has changed, would lose the gateway and the
pairs that the meshed file has: so what was chosen there goes on, and that is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import options, project
from controlplane.ctl.compose.document import Document
from controlplane.ctl.compose.options import Options
from controlplane.ctl.compose.seal import broken

_PLAIN = Options()


class Earlier(NamedTuple):
    """A file as an earlier run left it: its text, the flags that go on from it, and what to tell of it.

    `flags` are by the names of `Options`, those of this run among them.
    """

    text: str
    flags: Mapping[str, Any]
    notes: tuple[str, ...]


def earlier(target: str, plain: tuple[str, str], given: Mapping[str, Any]) -> Earlier | None:
    """What the file `target` says, into which `plain` (name, text) is meshed; None where it says nothing.

    `given` are the flags of this run (None: not given), which are stronger.  MiniIstiodError when what was
    chosen cannot go on.
    """
    before, now = _meshed(target), project.opened(plain[1], plain[0])
    if before is None or project.record(now) is not None:
        return None
    record = project.record(before)
    try:
        chosen = options.read(record)
    except MiniIstiodError as error:
        raise MiniIstiodError(f"{target}: {error}") from error
    said = {name: one for name, one in given.items() if one is not None}
    kept = _kept(chosen, said, project.project(now).keys(), target)
    flags = shlex.join(_flags(kept))
    notes = [f"as {target} was written before: {flags} (what you say instead counts)"] if flags else []
    if broken(before, record):
        notes.append(f"{target}: {project.LOST}")
    scale = {**kept.get("scale", {}), **said.get("scale", {})}
    return Earlier(before.text, {**kept, **said, "scale": scale}, tuple(notes))


def _kept(
    chosen: Options, said: Mapping[str, Any], services: Collection[str], target: str
) -> Mapping[str, Any]:
    """The choices that nothing is said of now, without what is not there any more."""
    kept = {one.name: getattr(chosen, one.name) for one in fields(Options) if one.name not in said}
    scale = chosen.scale.items()
    kept["scale"] = {
        one: count for one, count in scale if one in services and one not in said.get("scale", {})
    }
    if "exclude" in kept:
        kept["exclude"] = tuple(one for one in chosen.exclude if one in services)
    for name in kept.get("only", ()):
        if name not in services:
            raise MiniIstiodError(f"{target}: written with --only {name}, which is gone; say --only anew")
    return {name: one for name, one in kept.items() if one != getattr(_PLAIN, name)}


def _meshed(target: str) -> Document | None:
    """The file as a document if it is a meshed one; whatever else it is, it is replaced."""
    path = Path(target)
    try:
        text = path.read_bytes().decode() if path.is_file() else ""
        document = project.opened(text, target)
    except (OSError, UnicodeDecodeError, MiniIstiodError):
        return None
    return document if project.record(document) is not None else None


def _flags(kept: Mapping[str, Any]) -> Iterator[str]:
    """As they are written on a command line."""
    for name, found in kept.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(found, bool):
            yield flag
        elif isinstance(found, Mapping):
            for service, count in found.items():
                yield from (flag, f"{service}={count}")
        elif found:
            yield from (flag, found if isinstance(found, str) else ",".join(found))
