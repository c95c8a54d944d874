"""The Docker source: three tasks around a `Follower`.

One listens: it subscribes to events, lists the containers, and listens until the stream's end, half a
minute later; then it does so again.  So whatever an event did not tell is found out within that time, and a
connection that is broken without a word is, too.  One asks about the containers that are wanted, each in a
task of its own, because Docker answers for a container that is being started or torn down only when it is
done.  One delivers: what the containers are as Kubernetes objects, and how that differs from what was
delivered before.

When Docker is away, nothing is taken back.  A Problem says since when, and attempts go on with back-off.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from controlplane.base.clock import Clock, SystemClock, both, sleep_unless
from controlplane.base.parse import Address
from controlplane.model.problem import Problem
from controlplane.sources.change import Sink
from controlplane.sources.docker.api import Docker, DockerFailed, HttpDocker
from controlplane.sources.docker.event import read_event
from controlplane.sources.docker.follow import SAME_TIME, Follower, Picture
from controlplane.sources.docker.objects import Place, describe
from controlplane.sources.docker.own import own_ids
from controlplane.sources.docker.told import Told

_log = logging.getLogger(__name__)

AT_ONCE = 16
"""Questions about containers under way at the same time."""

SHARE = 4
"""So many times as long as a delivery took, there is none: containers may be many, and restless."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds.  `round`: how long one stream of events lives, and so between two lists.

    `gap`: between two deliveries, and between two questions about one container.  After a failure the next
    attempt is after `retry`, twice that after the next, up to `longest_retry`.  `patience`: how long the
    first delivery waits for containers about which Docker says nothing.  `look_back`: how far back the
    first stream begins, for containers that are being stopped.  `warm_up`: how long a container without a
    health check is not called after its start, because a program does not listen from its first moment.
    """

    round: float = 30.0
    gap: float = 0.01
    retry: float = 0.1
    longest_retry: float = 10.0
    patience: float = 10.0
    look_back: float = 60.0
    warm_up: float = 1.0

    def until_retry(self, failures: int) -> float:
        """How long to wait after so many failures in a row (1 = the first)."""
        return min(self.longest_retry, self.retry * 2.0 ** min(failures - 1, 30))


class DockerSource:
    """Containers as Kubernetes objects in `namespace`, from the Docker at `address`.

    `project` is the Compose project whose containers count, "" for that of this program's own container, or
    all.  Synced when all containers of the first list are known.  `candidates` are ids that may be this
    program's own container's, looked up when None.
    """

    def __init__(
        self,
        address: Address,
        *,
        project: str = "",
        namespace: str = "default",
        clock: Clock | None = None,
        ids: Iterator[int] | None = None,
        docker: Docker | None = None,
        pace: Pace | None = None,
        candidates: Sequence[str] | None = None,
    ) -> None:
        self.name = "docker"
        self._address = address
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._docker = docker or HttpDocker(address, self._clock)
        self._pace = pace or Pace()
        own = own_ids() if candidates is None else candidates
        self._follower = Follower(project, own, self._pace.warm_up)
        self._told = Told(ids or itertools.count(1))
        self._ahead = 0.0
        self._since: float | None = None
        self._lost: str | None = None
        self._complete_by: float | None = None
        self._synced = False
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._asking: set[str] = set()
        self._open: set[str] = set()
        self._wanting = asyncio.Event()
        self._moved = asyncio.Event()
        self._connected = asyncio.Event()
        # Not a secret: it only spreads control planes that were started together.
        self._jitter = random.Random()

    async def run(self, sink: Sink) -> None:
        """Deliver what is there, then `synced`, then every change; until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(sink), name="docker events")
                tasks.create_task(self._publish(sink), name="docker objects")
                while True:
                    await self._wanting.wait()
                    self._wanting.clear()
                    for id in sorted(self._follower.wanted.keys() - self._asking):
                        self._asking.add(id)
                        tasks.create_task(self._ask(id), name=f"docker container {id[:12]}")
        finally:
            await self._docker.close()

    # -- listening ------------------------------------------------------------------------------

    async def _listen(self, sink: Sink) -> None:
        failures = 0
        while True:
            try:
                await self._round(sink)
                failures = 0
            except DockerFailed as error:
                # One that listened well until now is perhaps there again at once.
                failures = 1 if self._connected.is_set() else failures + 1
                self._connected.clear()
                self._lost = self._lost or _moment(self._clock.wall())
                if failures > 1:
                    sink.report(f"{self.name}:api", (self._outage(str(error)),))
                await self._clock.sleep(self._pace.until_retry(failures) * self._jitter.uniform(0.5, 1.0))

    async def _round(self, sink: Sink) -> None:
        """Subscribe, list, listen until the end of the stream."""
        self._ahead = (await self._docker.ping()).ahead
        begin = self._now()
        since = begin - self._pace.look_back if self._since is None else self._since - SAME_TIME
        until = begin + self._pace.round
        async with aclosing(self._docker.events(since, until)) as stream:
            await anext(stream)
            items = await self._docker.containers()
            if not self._follower.believes(items):
                raise DockerFailed("does not know the container that this program runs in")
            self._note_list(self._follower.listed(items), begin, sink)
            async for batch in stream:
                for raw in batch:
                    event = read_event(raw)
                    if event is not None:
                        self._since = max(begin, event.at)
                        self._follower.heard(event)
                self._wake()
        if self._now() < until - SAME_TIME:
            raise DockerFailed("ended its stream of events")

    def _note_list(self, news: int, begin: float, sink: Sink) -> None:
        if self._complete_by is None:
            self._complete_by = self._clock.monotonic() + self._pace.patience
            project, own = self._follower.project or "any", self._follower.own[:12] or "none"
            _log.info("following containers", extra={"project": project, "own_container": own})
        _log.debug("containers listed", extra={"news": news})
        self._since = begin
        self._lost = None
        self._connected.set()
        sink.report(f"{self.name}:api", ())
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        if self._follower.wanted:
            self._wanting.set()

    def _outage(self, reason: str) -> Problem:
        message = f"Docker {reason}; away since {self._lost}; what was known of containers stays in use"
        remedy = f"see that dockerd runs and that this program may use {self._address}"
        return Problem("error", "", "", "", str(self._address), None, "", message, remedy)

    # -- asking ---------------------------------------------------------------------------------

    async def _ask(self, id: str) -> None:
        """Ask about a container until nothing makes it wanted any more."""
        failures = 0
        wanted = self._follower.wanted
        try:
            while id in wanted:
                await self._connected.wait()
                async with self._slots:
                    if id in wanted:
                        failures = await self._ask_once(id, failures)
                self._moved.set()
                await self._clock.sleep(self._pace.until_retry(failures) if failures else self._pace.gap)
        except Exception:  # noqa: BLE001 - the root of a task: no container may end the control plane
            _log.exception("a container could not be read", extra={"container": id})
            self._follower.failed(id, "gave an answer that is not understood")
            self._wake()
        finally:
            self._asking.discard(id)

    async def _ask_once(self, id: str, failures: int) -> int:
        """Ask once; returns how often it failed in a row."""
        # What is heard from here on makes it wanted anew.
        cause = self._follower.wanted.pop(id)
        asked = self._now()
        self._open.add(id)
        try:
            found = await self._docker.inspect(id)
        except DockerFailed as error:
            self._follower.wanted.setdefault(id, cause)
            # Once may be the beginning of the end of Docker, which is told otherwise.
            if failures and not error.away and self._connected.is_set():
                self._follower.failed(id, str(error))
            return failures + 1
        finally:
            self._open.discard(id)
        self._follower.answered(id, found, asked, cause)
        return 0

    # -- delivering -----------------------------------------------------------------------------

    async def _publish(self, sink: Sink) -> None:
        while True:
            await self._wait()
            if not self._synced and not self._complete():
                continue
            begin = self._clock.monotonic()
            picture = self._follower.take(self._now())
            if picture is not None:
                await self._deliver(picture, sink)
            if not self._synced:
                self._synced = True
                sink.synced(self.name)
            if picture is not None:
                took = self._clock.monotonic() - begin
                await self._clock.sleep(max(self._pace.gap, SHARE * took))

    async def _wait(self) -> None:
        """Return when something moved, or when time alone makes a difference."""
        now = self._now()
        due = self._follower.due()
        waits = [] if due is None else [max(due - now, 0.0)]
        if self._complete_by is not None and not self._synced:
            waits.append(self._complete_by - self._clock.monotonic())
        await sleep_unless(self._clock, min(waits, default=self._pace.round), self._moved)
        self._moved.clear()
        if due is not None and due <= self._now():
            self._follower.expire()

    def _complete(self) -> bool:
        """Whether all that the first list named is known, or was waited for long enough."""
        if self._complete_by is None:
            return False
        waiting = self._follower.wanted.keys() | self._open
        return not waiting or self._clock.monotonic() >= self._complete_by

    async def _deliver(self, picture: Picture, sink: Sink) -> None:
        described = describe(picture.containers, Place(self._namespace, picture.networks))
        changes = self._told.difference(described.objects, self._at(picture.cause))
        if changes:
            await sink.apply(changes)
        sink.report(f"{self.name}:containers", (*picture.problems, *described.problems))

    # -- time -----------------------------------------------------------------------------------

    def _now(self) -> float:
        """Unix seconds of Docker's clock."""
        return self._clock.wall() + self._ahead

    def _at(self, cause: float | None) -> float:
        """Monotonic seconds of an event; now for none, and for one that is too long ago to be the reason."""
        monotonic, wall = both(self._clock)
        age = 0.0 if cause is None else wall + self._ahead - cause
        return monotonic - age if 0.0 < age < self._pace.round else monotonic


def _moment(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
