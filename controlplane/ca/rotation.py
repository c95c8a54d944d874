"""The change of root in a running mesh: one stage after the other, each when everybody has the last.

The stages are `controlplane.ca.stages`.  A stage is kept before it is told, so after a crash the next
process goes on where this one was.  A stage is left when three things hold: it has lasted for the pause
(copies of root-cert.pem follow in their own time, and a proxy that is away comes back), nobody is
behind, and nothing holds it (the control plane is ready and not draining).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.base.clock import Clock, sleep_unless
from controlplane.base.errors import EnvironmentUnfit, MiniIstiodError
from controlplane.ca.authority import Authority
from controlplane.ca.keep import Keeper
from controlplane.ca.signer import Signer, fingerprint, self_signed
from controlplane.ca.stages import Roots, Stage, abandoned, advanced, begun

_log = logging.getLogger(__name__)

_SHARE_LEFT = 0.2
# Between a change of the authority and the moment at which proxies count as behind lies one batch.
_LEAST_PAUSE = 1.0


class RotationRefused(MiniIstiodError):
    """What was asked does not go with the stage that the rotation is in."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: the least of a stage, between two looks, between two looks at the root's age, its life."""

    pause: float = 120.0
    look: float = 0.25
    age_look: float = 3600.0
    root_lifetime: float = 87600 * 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rotation is; `behind` are the names of those who do not have the stage yet.

    `since` is in Unix seconds, `pause_left` in seconds; `held` is "" or why nothing moves.
    """

    stage: Stage
    since: float
    pause_left: float
    behind: tuple[str, ...]
    held: str


def opened(keeper: Keeper, clock: Clock, lifetime: float) -> Roots:
    """The kept roots, or the first ones.  EnvironmentUnfit when they cannot be had or are at their end."""
    roots = keeper.load()
    if roots is None:
        now = clock.wall()
        roots = keeper.create(Roots("idle", now, self_signed(now, lifetime)))
    if roots.signer.not_after <= clock.wall():
        end = roots.signer.root.not_valid_after_utc
        raise EnvironmentUnfit(
            f"the root that is kept expired on {end:%Y-%m-%d %H:%M} UTC: move the folder ca of the data "
            "directory away for a new one, which every proxy then has to be told"
        )
    return roots


class Rotation:
    """Owns the kept roots.  `run` is its task; `start`, `abandon` and `advance` are its commands.

    `behind()` gives the names of the proxies that have not acknowledged the secrets that follow from
    the authority's present state; `held()` is "" or why no stage may be left now.
    """

    def __init__(self, roots: Roots, keeper: Keeper, authority: Authority, clock: Clock, pace: Pace) -> None:
        self.behind: Callable[[], tuple[str, ...]] = tuple
        self.held: Callable[[], str] = str
        self._roots = roots
        self._keeper = keeper
        self._authority = authority
        self._clock = clock
        self._pace = pace
        # A process that comes back in the midst of a rotation waits in full: nobody is connected yet.
        self._entered = clock.monotonic()
        self._asked = asyncio.Event()

    @property
    def roots(self) -> Roots:
        """What is kept now."""
        return self._roots

    def progress(self) -> Progress:
        """Where it is now."""
        roots = self._roots
        if roots.stage == "idle":
            return Progress("idle", roots.since, 0.0, (), "")
        return Progress(roots.stage, roots.since, self._pause_left(), self.behind(), self.held())

    def start(self) -> None:
        """Make a new root and trust it.  `RotationRefused` when a rotation is under way."""
        now = self._clock.wall()
        try:
            self._enter(begun(self._roots, self_signed(now, self._pace.root_lifetime), now))
        except ValueError as error:
            raise RotationRefused(str(error)) from error

    def abandon(self) -> None:
        """Keep the old root after all; `RotationRefused` from the stage on in which the new one signs."""
        try:
            self._enter(abandoned(self._roots, self._clock.wall()))
        except ValueError as error:
            raise RotationRefused(str(error)) from error

    def advance(self) -> None:
        """Leave the stage at once, whoever is behind; `RotationRefused` when there is none to leave."""
        if self._roots.stage == "idle":
            raise RotationRefused("there is no rotation to advance")
        self._enter(advanced(self._roots, self._clock.wall()))

    async def run(self) -> None:
        """Leave stages when they may be left; start by itself when a root has a fifth of its life left."""
        if self._roots.stage != "idle":
            _log.warning(
                "a rotation of the root was under way, and goes on",
                extra={
                    "stage": self._roots.stage,
                    "signer": fingerprint(self._roots.signer.certificate)[:16],
                    "pause": max(self._pace.pause, _LEAST_PAUSE),
                },
            )
        while True:
            self._asked.clear()
            if not self.step():
                idle = self._roots.stage == "idle"
                # A command comes sooner.
                await sleep_unless(self._clock, self._pace.age_look if idle else self._pace.look, self._asked)

    def step(self) -> bool:
        """One stage further, if that may be; whether it was."""
        try:
            if self._roots.stage == "idle":
                if self.held() or not self._is_old(self._roots.current):
                    return False
                _log.warning("the root is near its end: a rotation begins")
                self.start()
            elif self._pause_left() > 0 or self.held() or self.behind():
                return False
            else:
                self._enter(advanced(self._roots, self._clock.wall()))
        except EnvironmentUnfit as error:
            # A full disk must not end a control plane that serves well; the stage stays as it was kept.
            _log.error("the rotation of the root waits", extra={"reason": str(error)})
            return False
        return True

    def _enter(self, roots: Roots) -> None:
        # Kept first: what is told must not be forgotten.
        self._keeper.save(roots)
        self._roots = roots
        self._entered = self._clock.monotonic()
        _log.info(
            "rotation of the root",
            extra={"stage": roots.stage, "signer": fingerprint(roots.signer.certificate)[:16]},
        )
        self._authority.replace(roots.signer, roots.trusted)
        self._asked.set()

    def _pause_left(self) -> float:
        pause = max(self._pace.pause, _LEAST_PAUSE)
        return max(0.0, self._entered + pause - self._clock.monotonic())

    def _is_old(self, signer: Signer) -> bool:
        certificate = signer.certificate
        begin = certificate.not_valid_before_utc.timestamp()
        end = certificate.not_valid_after_utc.timestamp()
        return end - self._clock.wall() < _SHARE_LEFT * (end - begin)
