"""How often somebody may ask: a signature costs the processor that also serves everybody's streams."""

from __future__ import annotations

from collections.abc import Hashable

from controlplane.base.clock import Clock

_FEW = 1000


class Allowance:
    """`rate` per second in the long run and `burst` at once, for each who asks."""

    def __init__(self, clock: Clock, rate: float = 10.0, burst: int = 50) -> None:
        self._clock = clock
        self._interval = 1.0 / rate
        self._ahead = (burst - 1) * self._interval
        # When each would have paid for what it took; nobody is held whose time that is past.
        self._paid: dict[Hashable, float] = {}
        self._most = _FEW

    def take(self, who: Hashable) -> bool:
        """Whether `who` may have one more now; if so, it is taken."""
        now = self._clock.monotonic()
        paid = max(self._paid.get(who, now), now)
        if paid - now > self._ahead:
            return False
        self._paid[who] = paid + self._interval
        if len(self._paid) > self._most:
            self._paid = {one: paid for one, paid in self._paid.items() if paid > now}
            self._most = max(_FEW, 2 * len(self._paid))
        return True
