"""When to ask for key sets: at once, then as often as they change, and with patience where nobody answers.

One task per URI that some policy names.  What was fetched last stays in force until something better
comes: a provider that is away for a day must not lock its users out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.base.clock import Clock
from controlplane.model.kinds.key_set import GROUP, KEY_SET, key_set_key, key_set_object
from controlplane.sources.change import Change, Sink
from controlplane.sources.jwks.document import Keys, keys_at
from controlplane.sources.jwks.fetch import Fetcher, FetchFailed
from controlplane.sources.jwks.shelf import Shelf

_log = logging.getLogger(__name__)

AT_ONCE = 32
"""Fetches under way at the same time."""

AGAIN_AT_ONCE = 8
"""Of those, fetches from where the last one failed: who never answers must not keep others waiting."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds.  `refresh` is the longest between two fetches; a provider may ask for less, down to `least`.

    After a failure the next attempt is after `retry`, twice that after the next, up to `longest_retry`.
    """

    refresh: float = 1200.0
    least: float = 60.0
    retry: float = 1.0
    longest_retry: float = 300.0

    def until_refresh(self, max_age: float | None) -> float:
        """How long keys stay unquestioned that their provider vouches for so long."""
        if max_age is None:
            return self.refresh
        return min(self.refresh, max(self.least, max_age))

    def until_retry(self, failures: int) -> float:
        """How long to wait after so many failures in a row (1 = the first)."""
        return min(self.refresh, self.longest_retry, self.retry * 2.0 ** min(failures - 1, 30))


class _State(NamedTuple):
    """What is known of one URI: its keys ("" = none yet) and why the last attempt failed."""

    keys: str = ""
    fault: str = ""


class KeySets:
    """The source of FetchedKeySets; `run` is the task that owns all others.

    `ids` numbers changes.  `counted(success)` is told of every attempt.  `shelf` has what was fetched before
    a restart.
    """

    name = "jwks"

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        clock: Clock,
        ids: Iterator[int],
        pace: Pace | None = None,
        shelf: Shelf | None = None,
        counted: Callable[[bool], None] = lambda success: None,
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._ids = ids
        self._pace = pace or Pace()
        self._shelf = shelf or Shelf(None)
        self._counted = counted
        self._wanted: dict[str, float] = {}
        self._known: dict[str, _State] = {}
        self._untried: set[str] = set()
        self._moved = asyncio.Event()
        self._tried = asyncio.Event()
        self._tried.set()
        self._slots = asyncio.Semaphore(AT_ONCE - AGAIN_AT_ONCE)
        self._slots_again = asyncio.Semaphore(AGAIN_AT_ONCE)
        # Not a secret: it only spreads replicas that were started together.
        self._jitter = random.Random()

    def want(self, timeouts: Mapping[str, float]) -> None:
        """The URIs that are wanted from now on, and how many seconds each may take to answer."""
        self._wanted = dict(timeouts)
        self._untried = self._wanted.keys() - self._known.keys()
        self._moved.set()
        self._note()

    async def tried(self) -> None:
        """Return when each URI that is wanted has been asked once; at once where none is."""
        await self._tried.wait()

    def _note(self) -> None:
        if self._untried:
            self._tried.clear()
        else:
            self._tried.set()

    async def run(self, sink: Sink) -> None:
        """Follow what is wanted until cancelled; what that is, is known only after the first batch."""
        sink.synced(self.name)
        tasks: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._moved.wait()
                self._moved.clear()
                for uri in sorted(tasks.keys() - self._wanted.keys()):
                    tasks.pop(uri).cancel()
                    await self._deliver(sink, uri, None)
                    self._shelf.drop(uri)
                for uri in sorted(self._wanted.keys() - tasks.keys()):
                    tasks[uri] = group.create_task(self._follow(sink, uri), name=f"keys of {uri}")

    async def _follow(self, sink: Sink, uri: str) -> None:
        failures = 0
        kept = self._shelf.get(uri)
        if kept:
            await self._deliver(sink, uri, _State(kept))
        while True:
            found = await self._attempt(uri)
            self._counted(not isinstance(found, str))
            if isinstance(found, str):
                failures += 1
                await self._deliver(sink, uri, self._known.get(uri, _State())._replace(fault=found))
                # Down to half: those who failed together shall not come back together.
                pause = self._pace.until_retry(failures) * self._jitter.uniform(0.5, 1.0)
            else:
                failures = 0
                if found.text != self._known.get(uri, _State()).keys:
                    self._shelf.put(uri, found.text)
                await self._deliver(sink, uri, _State(found.text))
                pause = self._pace.until_refresh(found.max_age) * self._jitter.uniform(0.9, 1.0)
            await self._clock.sleep(pause)

    async def _attempt(self, uri: str) -> Keys | str:
        """The keys, or why there are none."""
        known = self._known.get(uri)
        async with self._slots_again if known is not None and known.fault else self._slots:
            try:
                return await keys_at(self._fetcher, uri, self._wanted.get(uri, self._pace.retry))
            except FetchFailed as error:
                return str(error)
            except Exception:  # noqa: BLE001 - the root of a task: no provider may end the control plane
                _log.exception("a key set could not be fetched", extra={"uri": uri})
                return "could not be read: a fault of the control plane, whose log says more"

    async def _deliver(self, sink: Sink, uri: str, state: _State | None) -> None:
        if state == self._known.get(uri):
            return
        # Noted before it is delivered: whoever takes it back must know of it, even if this is interrupted.
        if state is None:
            del self._known[uri]
        else:
            self._known[uri] = state
        raw = None if state is None else key_set_object(uri, *state)
        change = Change(
            kind=KEY_SET.name,
            key=key_set_key(uri),
            raw=raw,
            origin=None,
            id=next(self._ids),
            at=self._clock.monotonic(),
            group=GROUP,
        )
        await sink.apply((change,))
        self._untried.discard(uri)
        self._note()
