"""Guarding objects on disk: the version in force outlives a restart, one file for each object.

It is a source, so that a recording has what was given back and a replay does the same.  What it delivers
stands at places that begin with KEPT: no copies of objects, but what the store falls back on where the
object of today is refused or cannot be read.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock
from controlplane.model.keys import Key
from controlplane.model.problem import Origin
from controlplane.sources.change import Change, Sink
from controlplane.sources.naming import Name
from controlplane.sources.redact import Redaction

KEPT = "last-valid:"
"""How places of what was in force before a restart begin; the file that it stood in follows."""

_log = logging.getLogger(__name__)


class KeptObjects:
    """The source of what was in force, and its keeper.

    `folder` is made when something is kept.  Files have mode 0600 and hold an object as it was, without
    what is secret (see `redact`).  A disk that is full costs a line in the log, not the policy.
    """

    name = "last-valid"

    def __init__(self, folder: Path, *, clock: Clock, ids: Iterator[int]) -> None:
        self._folder = folder
        self._clock = clock
        self._ids = ids
        self._redaction = Redaction()

    async def run(self, sink: Sink) -> None:
        """Deliver what was kept, at once and before others can; nothing ever comes after that."""
        found = [change for path in sorted(self._folder.glob("*.json")) if (change := self._read(path))]
        if found:
            await sink.apply(found)
        sink.synced(self.name)
        await asyncio.Event().wait()

    def put(self, name: Name, origin: Origin | None, raw: Mapping[str, Any]) -> None:
        """Keep this version in place of the one before."""
        path = self._path(name)
        new = path.with_suffix(".new")
        content = {
            "group": name.group,
            "kind": name.kind,
            "namespace": name.key.namespace,
            "name": name.key.name,
            "origin": origin,
            "raw": self._redaction.raw(name.kind, raw),
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(content, file, default=str)
            new.replace(path)
        except OSError as error:
            _log.warning("an object could not be kept", extra={"object": str(name), "reason": error.strerror})

    def drop(self, name: Name) -> None:
        """Forget an object that is gone."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            said = {"object": str(name), "reason": error.strerror}
            _log.warning("an object that is gone could not be forgotten", extra=said)

    def _path(self, name: Name) -> Path:
        # A hash: names may be longer than those of files.
        text = "/".join((name.group, name.kind, *name.key))
        return self._folder / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"

    def _read(self, path: Path) -> Change | None:
        try:
            found = json.loads(path.read_bytes())
            file, line = found["origin"] or ("", None)
            return Change(
                found["kind"],
                Key(found["namespace"], found["name"]),
                dict(found["raw"]),
                Origin(KEPT + file, line),
                next(self._ids),
                self._clock.monotonic(),
                found["group"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = {"file": str(path), "reason": str(error)}
            _log.error("a kept object cannot be read, so its policy may be NOT in force", extra=said)
            return None
