"""The mesh configuration as one file: a plain MeshConfig document, as istiod's --meshConfig takes it.

It has no kind and no metadata, so it cannot stand in the watched directory; here it becomes the one
MeshConfig object.  A file that breaks or goes keeps its last content in force, with a Problem.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.kinds.kind import MESH
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change, Sink
from controlplane.sources.directory import yaml_value
from controlplane.sources.directory.reading import Trouble, load
from controlplane.sources.directory.text import MalformedError, decode, pieces
from controlplane.sources.directory.watch import Watch

SWEEP = 2.0
"""Seconds after which the file is looked at though no event told so."""


class MeshFileSource:
    """Follows one file; see `controlplane.sources.change.Source`."""

    def __init__(self, path: Path, *, clock: Clock | None = None, ids: Iterator[int] | None = None) -> None:
        self.name = "mesh-config"
        self.path = path
        self._clock = clock or SystemClock()
        self._ids = ids or itertools.count(1)
        self._content: bytes | None = None

    async def run(self, sink: Sink) -> None:
        """Deliver the configuration, then `synced`, then every change of it; until cancelled."""
        watch = Watch(self.path.parent)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch.run(), name="mesh configuration watch")
            try:
                await self._look(sink)
                sink.synced(self.name)
                while True:
                    await watch.take(SWEEP)
                    await self._look(sink)
            finally:
                watching.cancel()

    async def _look(self, sink: Sink) -> None:
        at = self._clock.monotonic()
        found = await asyncio.to_thread(load, self.path)
        if isinstance(found, Trouble):
            sink.report(self.name, (self._problem(None, found.reason, found.remedy),))
            return
        content = found[1]
        if content == self._content:
            sink.report(self.name, self._standing)
            return
        try:
            value = await asyncio.to_thread(_parse, content)
        except MalformedError as error:
            self._standing: tuple[Problem, ...] = (self._problem(error.line, error.message, error.remedy),)
        else:
            self._standing = ()
            origin = Origin(self.path.name, 1)
            await sink.apply((Change("MeshConfig", MESH, value, origin, next(self._ids), at),))
        self._content = content
        sink.report(self.name, self._standing)

    def _problem(self, line: int | None, message: str, remedy: str) -> Problem:
        message = f"{message}; what was read before stays in use" if self._content else message
        return Problem("error", "MeshConfig", "", MESH.name, self.path.name, line, "", message, remedy)


def _parse(content: bytes) -> dict[str, Any]:
    """The one document of the file; an empty file is an empty configuration."""
    documents = [
        (piece.line, document)
        for piece in pieces(decode(content))
        if (document := yaml_value.parse(piece.text)).present
    ]
    if len(documents) > 1:
        raise MalformedError(documents[1][0], "a second document", "write one MeshConfig in the file")
    value = documents[0][1].value if documents else {}
    if not isinstance(value, dict):
        raise MalformedError(1, "not a mapping", "write fields of MeshConfig: accessLogFile: /dev/stdout")
    return value
