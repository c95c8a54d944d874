"""The supply of secrets: who is connected has a certificate, and it never comes to its end.

A proxy's key and certificate are made when its first stream opens, and written into the graph as one row;
from there they reach it like any other configuration.  They are made anew between a half and two thirds
of their life, each at a moment of its own, and all of them, at leisure, when the authority gets another
signer.  They live in memory only: who comes back soon finds the same certificate, and after a restart of
the control plane everybody is given a new one.

Issuing is work for the processor: a thousand proxies that connect at once would stop the loop for a good
part of a second.  So it is done in slices, each of which is one commit, with turns of the loop between; what
only replaces something good yields to everything else.  Keys that take long to make (RSA) are made in
other threads, and signed here.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

from controlplane.base.clock import Clock, sleep_unless
from controlplane.ca.authority import Change
from controlplane.ca.keys import PrivateKey
from controlplane.ca.refused import Refused
from controlplane.envoy.secrets import ROOT_CA, certificates, roots
from controlplane.graph import Table
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.identity import Holder

_log = logging.getLogger(__name__)

_LOOK = 60.0
"""Seconds after which the wall clock is asked again: a machine may have slept meanwhile."""
_RETRY = 5.0
"""Seconds until somebody whom the authority refused is tried again."""
_EARLIEST, _LATEST = 1 / 2, 2 / 3
"""Shares of a certificate's remaining life after which it is renewed."""
_SHORTEST = 1.0
"""Seconds: nothing is renewed more often than this."""

_THREADS = 2
"""For making keys."""
_SPARE = 1_000
"""Turns of holders that have gone, kept for as long as that is less work than to look for them."""


class Issuer(Protocol):
    """What is asked of an authority; see `controlplane.ca.authority`."""

    @property
    def bundle(self) -> TrustBundle: ...

    @property
    def slow(self) -> bool: ...

    def new_key(self) -> PrivateKey: ...

    def issue(self, uris: Sequence[str], *, key: PrivateKey | None = None) -> Certified: ...

    def on_change(self, callback: Callable[[Change], None]) -> None: ...


class Pace(NamedTuple):
    """How much at a time, in seconds."""

    slice: float = 0.005
    """Of issuing, between two turns of the loop."""
    rest: float = 4.0
    """After a slice of renewals, as a multiple of the time that it took."""
    grace: float = 30.0
    """For which the certificate of a proxy that went is kept for it."""


@dataclass(slots=True, eq=False)
class _Held:
    """What is known of one holder."""

    since: float
    """When its first stream opened, monotonic."""
    streams: int = 0
    has: bool = False
    """Whether a certificate was written."""
    renew_at: float = 0.0
    """Wall clock."""


class Certificates:
    """Supplies every holder that was taken with a certificate of `authority`, by `commit`ting rows.

    `run` is its one task.  `chance()` gives numbers from 0 to 1; `on_issued(seconds)` is told how long each
    proxy waited for its first certificate.
    """

    def __init__(
        self,
        authority: Issuer,
        commit: Callable[[Sequence[tuple[Table, Any, Any]]], object],
        *,
        clock: Clock,
        chance: Callable[[], float] = random.random,
        pace: Pace | None = None,
    ) -> None:
        self.on_issued: Callable[[float], None] = lambda seconds: None
        self._authority = authority
        self._commit = commit
        self._clock = clock
        self._chance = chance
        self._pace = pace or Pace()
        self._held: dict[Holder, _Held] = {}
        # To be certified: those who have nothing yet, and those who have something good.
        self._first: dict[Holder, None] = {}
        self._again: dict[Holder, None] = {}
        # To be tried again when their turn comes.
        self._refused: dict[Holder, None] = {}
        # By the wall clock: whose turn comes when.  What is not its `renew_at` any more is skipped.
        self._due: list[tuple[float, int, Holder]] = []
        self._numbers = count()
        # Gone, and until when (monotonic) they are waited for; in the order of going.
        self._away: dict[Holder, float] = {}
        self._work = asyncio.Event()
        self._keys: list[PrivateKey] = []
        # Whether the roots were written.
        self._told = False
        authority.on_change(self._changed)

    # -- who is there ---------------------------------------------------------------------------

    def take(self, holder: Holder) -> None:
        """A stream of this proxy has opened; see `controlplane.xds.view.Holders`."""
        if not self._told:
            # Not before there is somebody who asks for it: many meshes have no identities.
            self._tell_roots()
        held = self._held.get(holder)
        if held is None:
            held = self._held[holder] = _Held(self._clock.monotonic())
            self._first[holder] = None
            self._work.set()
        held.streams += 1
        self._away.pop(holder, None)

    def give_back(self, holder: Holder) -> None:
        """A stream has ended.  After the last one the certificate is kept for the grace, then forgotten."""
        held = self._held[holder]
        held.streams -= 1
        if not held.streams:
            self._away[holder] = self._clock.monotonic() + self._pace.grace
            self._work.set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The proxies that are to be issued a certificate, and those that may come back any moment."""
        lacking = (*self._first, *self._again, *self._refused, *self._away)
        return tuple(sorted({holder.proxy for holder in lacking}))

    def __len__(self) -> int:
        return len(self._held)

    # -- what is issued -------------------------------------------------------------------------

    def reissue_all(self) -> None:
        """Give everybody a new certificate, little by little; who is away gets one when it comes back."""
        self._forget(tuple(self._away))
        self._again.update(dict.fromkeys(holder for holder, held in self._held.items() if held.has))
        self._work.set()

    def _changed(self, change: Change) -> None:
        if change.bundle and self._told:
            self._tell_roots()
        if change.signer:
            self.reissue_all()

    def _tell_roots(self) -> None:
        self._told = True
        self._commit([(roots, ROOT_CA, self._authority.bundle)])

    async def run(self) -> None:
        """Issue whatever is to be issued, until cancelled."""
        while True:
            self._work.clear()
            self._forget_the_lost()
            self._note_the_due()
            queue = self._first or self._again
            if queue and self._authority.slow:
                await self._make_keys(len(queue))
            if self._first:
                self._issue(self._first)
                await asyncio.sleep(0)
            elif self._again:
                took = self._issue(self._again)
                await self._clock.sleep(took * self._pace.rest)
            else:
                # Or until somebody comes, goes or is to be certified anew.
                await sleep_unless(self._clock, self._next(), self._work)

    async def _make_keys(self, wanted: int) -> None:
        """Have some keys that take long to make: no more than there are processors to make them."""
        count = min(wanted, _THREADS) - len(self._keys)
        new_key = self._authority.new_key
        self._keys += await asyncio.gather(*(asyncio.to_thread(new_key) for _ in range(count)))

    def _issue(self, queue: dict[Holder, None]) -> float:
        """Certify for one slice of time and commit; the seconds that it took."""
        started = now = self._clock.monotonic()
        rows, waits, reason = [], [], ""
        while queue and now - started < self._pace.slice and (self._keys or not self._authority.slow):
            holder = next(iter(queue))
            del queue[holder]
            held = self._held[holder]
            key = self._keys.pop() if self._keys else None
            try:
                certified = self._authority.issue((holder.identity.spiffe,), key=key)
            except Refused as error:
                reason = str(error)
                self._refused[holder] = None
                self._plan(holder, held, self._clock.wall() + _RETRY)
            else:
                rows.append((certificates, holder, certified))
                self._refused.pop(holder, None)
                self._plan(holder, held, self._renewal(certified))
                now = self._clock.monotonic()
                if not held.has:
                    held.has = True
                    waits.append(now - held.since)
        if rows:
            self._commit(rows)
        for seconds in waits:
            self.on_issued(seconds)
        if reason:
            _log.error("certificates are not issued", extra={"proxies": len(self._refused), "reason": reason})
        return self._clock.monotonic() - started

    def _renewal(self, certified: Certified) -> float:
        """When to renew it: not all at the same time, however many were issued at the same time."""
        now = self._clock.wall()
        share = _EARLIEST + (_LATEST - _EARLIEST) * self._chance()
        return now + max((certified.not_after - now) * share, _SHORTEST)

    def _plan(self, holder: Holder, held: _Held, at: float) -> None:
        held.renew_at = at
        heapq.heappush(self._due, (at, next(self._numbers), holder))
        if len(self._due) > 2 * len(self._held) + _SPARE:
            # Those who went long before their certificates would have come to their end.
            self._due = [(held.renew_at, next(self._numbers), one) for one, held in self._held.items()]
            heapq.heapify(self._due)

    # -- time -----------------------------------------------------------------------------------

    def _note_the_due(self) -> None:
        now = self._clock.wall()
        while self._due and self._due[0][0] <= now:
            at, _, holder = heapq.heappop(self._due)
            held = self._held.get(holder)
            if held is None or held.renew_at != at:
                continue
            (self._again if held.has else self._first)[holder] = None

    def _forget_the_lost(self) -> None:
        now = self._clock.monotonic()
        lost = []
        for holder, until in self._away.items():
            if until > now:
                break
            lost.append(holder)
        self._forget(lost)

    def _forget(self, holders: Sequence[Holder]) -> None:
        rows = []
        for holder in holders:
            del self._away[holder]
            self._first.pop(holder, None)
            self._again.pop(holder, None)
            self._refused.pop(holder, None)
            if self._held.pop(holder).has:
                rows.append((certificates, holder, None))
        if rows:
            self._commit(rows)

    def _next(self) -> float:
        """Seconds until there is something to do."""
        times = [_LOOK]
        if self._due:
            times.append(self._due[0][0] - self._clock.wall())
        if self._away:
            times.append(next(iter(self._away.values())) - self._clock.monotonic())
        return min(times)
