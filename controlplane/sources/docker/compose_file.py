"""Containers without Docker's API: Compose files say what there is, DNS says where it runs.

Each name is looked up every second.  Names that all fail together are an outage of DNS, and what was known
stays; one that fails by itself, twice in a row, is a container that has ended.  DNS knows no health: a
container counts as ready as soon as it has an address.  A file that cannot be read or parsed keeps its
last content.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from controlplane.base.clock import Clock, SystemClock
from controlplane.model.problem import Problem
from controlplane.sources.change import Sink
from controlplane.sources.directory import yaml_value
from controlplane.sources.directory.reading import Trouble, load
from controlplane.sources.directory.text import MalformedError, decode
from controlplane.sources.docker.compose_services import (
    File,
    Written,
    containers,
    read_services,
    with_addresses,
)
from controlplane.sources.docker.objects import Place, describe
from controlplane.sources.docker.told import Told

EVERY = 1.0
"""Seconds between two rounds."""

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name; raises OSError where there are none."""

_MAX_BYTES = 4 * 1024 * 1024
_MISSES = 2
"""Rounds in which a name has to fail before its container has ended."""


class ComposeFileSource:
    """The services of Compose files as Services and workloads; synced after the first look at all of them.

    `resolve` looks a name up, by default as the system does; `environ` fills in variables.
    """

    def __init__(
        self,
        files: Sequence[Path],
        *,
        resolve: Resolve | None = None,
        environ: Mapping[str, str] | None = None,
        namespace: str = "default",
        clock: Clock | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        self.name = "compose"
        self._files = tuple(files)
        self._resolve = resolve or system_resolve
        self._environ = os.environ if environ is None else environ
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._told = Told(ids or itertools.count(1), self.name)
        self._read: dict[Path, File] = {}
        self._seen: dict[Path, bytes] = {}
        self._known = Known()

    async def run(self, sink: Sink) -> None:
        """Deliver what there is, then `synced`, then every change; until cancelled."""
        synced = False
        while True:
            troubles = await asyncio.to_thread(self._look)
            services, mistakes = read_services(list(self._read.values()), self._environ)
            outage = self._known.learn(await self._addresses(services), self._clock.wall())
            described = describe(containers(services, self._known.addresses), Place(self._namespace))
            changes = self._told.difference(described.objects, self._clock.monotonic())
            if changes:
                await sink.apply(changes)
            sink.report(f"{self.name}:", (*troubles, *mistakes, *outage, *described.problems))
            if not synced and len(self._read) == len(self._files):
                sink.synced(self.name)
                synced = True
            await self._clock.sleep(EVERY)

    def _look(self) -> list[Problem]:
        """Read all files; one that cannot be read stays as it was."""
        troubles: list[Problem] = []
        for path in self._files:
            loaded = load(path, _MAX_BYTES)
            if isinstance(loaded, Trouble):
                message = f"cannot be read: {loaded.reason}"
                troubles.append(self._trouble(path, None, message, loaded.remedy))
                continue
            if loaded[1] == self._seen.get(path):
                continue
            try:
                value: Any = yaml_value.parse(decode(loaded[1])).value
            except MalformedError as error:
                troubles.append(self._trouble(path, error.line, error.message, error.remedy))
                continue
            self._read[path], self._seen[path] = File(str(path), value), loaded[1]
        # In the order in which they are merged.
        self._read = {path: self._read[path] for path in self._files if path in self._read}
        return troubles

    def _trouble(self, path: Path, line: int | None, message: str, remedy: str) -> Problem:
        kept = f"{message}; what was read from it before stays in use"
        return Problem("error", "Compose", "", "", str(path), line, "", kept, remedy)

    async def _addresses(self, services: Mapping[str, Written]) -> dict[str, tuple[str, ...]]:
        names = with_addresses(services.values())
        found = await asyncio.gather(*(self._look_up(name) for name in names))
        return dict(zip(names, found, strict=True))

    async def _look_up(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(set(await self._resolve(name))))
        except OSError:
            # Docker's DNS says that it does not know a name in several ways, depending on the host's.
            return ()


class Known:
    """Where services were when DNS last said so."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        self._misses: dict[str, int] = {}
        self._silent_since: float | None = None

    def learn(self, answers: Mapping[str, tuple[str, ...]], wall: float) -> list[Problem]:
        """Take one round's answers, () for none; a Problem while nothing at all is answered."""
        gone = self.addresses.keys() - answers.keys()
        for name in gone:
            del self.addresses[name]
        if self.addresses and not any(answers.values()):
            if self._silent_since is None:
                self._silent_since = wall
            return [self._outage(self._silent_since)]
        self._silent_since = None
        for name, addresses in answers.items():
            self._misses[name] = 0 if addresses else self._misses.get(name, 0) + 1
            if addresses:
                self.addresses[name] = addresses
            elif self._misses[name] >= _MISSES:
                self.addresses.pop(name, None)
        return []

    def _outage(self, since: float) -> Problem:
        when = datetime.fromtimestamp(since, UTC).strftime("%H:%M:%S UTC")
        message = f"no service's name is resolved since {when}; the addresses known before stay in use"
        remedy = "see that this program is on the services' networks, and that they run"
        return Problem("error", "", "", "", "DNS", None, "", message, remedy)


async def system_resolve(name: str) -> Sequence[str]:
    """The addresses of a name as the system's resolver has them; raises OSError where there are none."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
