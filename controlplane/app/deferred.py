"""The accounting of a push, done a little later.

Every response to every proxy is four events.  What traces and metrics make of them takes a few microseconds
each when it is done between one proxy and the next, and a quarter of that when it is done for many at
a time: the same few functions over and over, and nobody waits.  So the push path only notes what
happened; it is told in the same order and with the same times when the server is quiet for a moment,
when somebody is about to read, or when too much has been noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from controlplane.app.watchers import Watcher
from controlplane.store.debounce import Batch
from controlplane.xds.caller import Denial
from controlplane.xds.observer import Connection
from controlplane.xds.protocol import Push
from controlplane.xds.settle import Settled
from controlplane.xds.verdict import Verdict

_QUIET = 0.02
"""Seconds without an event after which there is time for the noted ones."""
_FEW = 500
"""Events told in one turn of the loop: a third of a millisecond."""
_MANY = 20_000
"""Events noted at most."""
_HELD = 4 * 2**20
"""Bytes of answered responses at most: what is noted of a response keeps it in memory."""


class Deferred(Watcher):
    """Stands before `told` and tells it of frequent events late; of all others at once, and in order.

    Late is what a push does to many proxies: woken, planned, written, untouched, acked.
    """

    def __init__(self, told: Watcher) -> None:
        self._told = told
        # Flat, four places for each event: a tuple for each would be tens of thousands of objects for
        # the garbage collector to look at.
        self._noted: list[Any] = []
        self._held = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def catch_up(self, events: int = _MANY) -> None:
        """Tell what was noted, the oldest first, at most so many events."""
        noted = self._noted
        if len(noted) > 4 * events:
            noted, self._noted = noted[: 4 * events], noted[4 * events :]
        else:
            self._noted = []
            self._held = 0
        places = iter(noted)
        for tell, connection, what, at in zip(places, places, places, places, strict=True):
            tell(connection, what, at)

    def _note(
        self, tell: Callable[[Any, Any, Any], None], connection: Connection, what: Any, at: Any
    ) -> None:
        self._noted += (tell, connection, what, at)
        if self._timer is None:
            self._wait()
        elif len(self._noted) > 4 * _MANY:
            self.catch_up(_FEW)

    def _wait(self, seconds: float = _QUIET) -> None:
        self._seen = len(self._noted)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Catch up if nothing came since the last look, some at a time."""
        self._timer = None
        if len(self._noted) != self._seen:
            self._wait()
            return
        self.catch_up(_FEW)
        if self._noted:
            self._wait(0.0)

    # -- later ----------------------------------------------------------------------------------

    def woken(self, connection: Connection, revision: int, at: float) -> None:
        self._note(self._told.woken, connection, revision, at)

    def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
        self._note(self._planned, connection, push, (took, at))

    def _planned(self, connection: Connection, push: Push, times: tuple[float, float]) -> None:
        self._told.planned(connection, push, *times)

    def written(self, connection: Connection, push: Push, at: float) -> None:
        self._note(self._told.written, connection, push, at)

    def untouched(self, connection: Connection, revision: int, at: float) -> None:
        self._note(self._told.untouched, connection, revision, at)

    def acked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        self._note(self._told.acked, connection, verdict, at)
        self._held += verdict.push.size
        if self._held > _HELD:
            # Large responses: there copying is what takes time.
            self.catch_up()

    # -- now ------------------------------------------------------------------------------------

    def committed(self, revision: int, batch: Batch) -> None:
        self._told.committed(revision, batch)

    def settled(self, outcome: Settled) -> None:
        # A wave that begins does not disturb what is noted of older ones.
        self._told.settled(outcome)

    def connected(self, connection: Connection) -> None:
        self._told.connected(connection)

    def stalled(self, connection: Connection, push: Push) -> None:
        self._told.stalled(connection, push)

    def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        self.catch_up()
        self._told.nacked(connection, verdict, at)

    def expired(self, connection: Connection, type_name: str) -> None:
        self._told.expired(connection, type_name)

    def received(self, size: int) -> None:
        self._told.received(size)

    def denied(self, denial: Denial) -> None:
        self._told.denied(denial)

    def failed(self) -> None:
        self._told.failed()

    def gone(self, connection: Connection, at: float) -> None:
        self.catch_up()
        self._told.gone(connection, at)
