"""The mesh's settings from one file, as `--mesh-config` names it: a bare MeshConfig document.

It is looked at twice a second and not watched: such a file lies in directories like /etc, and a
recursive watch there would cost more than it tells.  Links are followed, so a mounted ConfigMap works.
What cannot be read, parsed or found leaves the last settings in force.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.kinds import MESH
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change, Sink
from controlplane.sources.directory import yaml_value
from controlplane.sources.directory.reading import Trouble, load
from controlplane.sources.directory.text import MalformedError, decode

EVERY = 0.5
"""Seconds between two looks; a fault is told when two looks in a row see it."""

_KIND = "MeshConfig"
_MAX_BYTES = 1024 * 1024


class MeshFileSource:
    """One object: the MeshConfig.  Synced when the file was read for the first time."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        ids: Iterator[int] | None = None,
        every: float = EVERY,
    ) -> None:
        self.name = "mesh-config"
        self.path = path
        self._clock = clock or SystemClock()
        self._ids = ids or itertools.count(1)
        self._every = every

    async def run(self, sink: Sink) -> None:
        """Deliver the settings, then `synced`, then every change; until cancelled."""
        told: Mapping[str, Any] | None = None
        suspect: Problem | None = None
        while True:
            found = await asyncio.to_thread(self._read)
            if isinstance(found, Problem):
                # Once may be a file that is just being saved.
                if found == suspect:
                    sink.report(f"{self.name}:", (found,))
                suspect = found
            else:
                suspect = None
                sink.report(f"{self.name}:", ())
                if found != told:
                    await sink.apply((self._change(found),))
                if told is None:
                    sink.synced(self.name)
                told = found
            await self._clock.sleep(self._every)

    def _change(self, raw: Mapping[str, Any]) -> Change:
        origin = Origin(str(self.path), 1)
        return Change(_KIND, MESH, raw, origin, next(self._ids), self._clock.monotonic())

    def _read(self) -> Mapping[str, Any] | Problem:
        loaded = load(self.path, _MAX_BYTES)
        if isinstance(loaded, Trouble):
            return self._problem(None, f"cannot be read: {loaded.reason}", loaded.remedy)
        try:
            value = yaml_value.parse(decode(loaded[1])).value
        except MalformedError as error:
            return self._problem(error.line, error.message, error.remedy)
        if not isinstance(value, dict):
            return self._problem(1, "expected the fields of MeshConfig", "write it as a mapping")
        return value

    def _problem(self, line: int | None, message: str, remedy: str) -> Problem:
        kept = f"{message}; the settings in force stay as they are"
        return Problem("error", _KIND, MESH.namespace, MESH.name, str(self.path), line, "", kept, remedy)
