"""Handshakes that come to nothing: plaintext to a TLS door, a certificate of somebody else's CA, or none.

gRPC ends them below Python and tells neither that they failed nor who it was, only that one began.  So what
is told is the difference: how many began at a door, and how many of those connections ever called.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.caller import Authenticator, Caller, Door, Presented

_log = logging.getLogger(__name__)

LOOK = 20.0
"""Seconds between two looks.  Whoever has not called from one to the next is not going to."""
_REMEMBERED = 20_000


@dataclass(slots=True)
class _Owed:
    """Connections of a door that have not called; `least`, so many all the time since the last look."""

    now: int = 0
    least: int = 0


class Counts(NamedTuple):
    """Who is told, with the name of the door: that one has `begun`, that so many were `fruitless`."""

    begun: Callable[[str], None]
    fruitless: Callable[[str, int], None]


class Handshakes:
    """An Authenticator around another, which sees who calls, and `begun`, which hears who shakes hands."""

    def __init__(self, inner: Authenticator, counts: Counts, look: float = LOOK) -> None:
        self.look = look
        self._inner = inner
        self._counts = counts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owed: dict[Door, _Owed] = {}
        self._called: dict[tuple[Door, str], None] = {}

    def open(self) -> None:
        """Tell from now on, from the running loop."""
        self._loop = asyncio.get_running_loop()

    def begun(self, door: Door) -> None:
        """A handshake has begun; called from gRPC's own threads."""
        self._counts.begun(door.value)
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is there to be told
                loop.call_soon_threadsafe(self._one_more, door)

    # -- the Authenticator ----------------------------------------------------------------------

    async def identify(self, presented: Presented) -> Caller:
        self._heard(presented.door, presented.peer)
        return await self._inner.identify(presented)

    def objection(self, caller: Caller) -> str:
        return self._inner.objection(caller)

    def trust_domain(self) -> str:
        return self._inner.trust_domain()

    # -- the difference -------------------------------------------------------------------------

    def _one_more(self, door: Door) -> None:
        owed = self._owed.get(door)
        if owed is None:
            owed = self._owed[door] = _Owed()
            self._again(door)
        owed.now += 1

    def _heard(self, door: Door, peer: str) -> None:
        owed = self._owed.get(door)
        if door is Door.PLAINTEXT or (door, peer) in self._called:
            return
        self._called[door, peer] = None
        if len(self._called) > _REMEMBERED:
            del self._called[next(iter(self._called))]
        if owed is not None and owed.now:
            owed.now -= 1
            owed.least = min(owed.least, owed.now)

    def _again(self, door: Door) -> None:
        asyncio.get_running_loop().call_later(self.look, self._look, door)

    def _look(self, door: Door) -> None:
        owed = self._owed[door]
        if owed.least:
            self._counts.fruitless(door.value, owed.least)
            _log.warning(
                "TLS handshakes came to nothing",
                extra={
                    "door": door.value,
                    "count": owed.least,
                    "reason": "no call came from them: plaintext, or a certificate that is not of this mesh",
                },
            )
        owed.now -= owed.least
        owed.least = owed.now
        if owed.now:
            self._again(door)
        else:
            del self._owed[door]
