"""An operator's CA that changes while the control plane runs.

New files are noticed by themselves, and can be taken up at once by a command.  Files that do not fit
together, or a step that would break connections, change nothing: the authority goes on with what it has,
and the log says why.  A new root takes three steps of the operator, each to be followed by every proxy:
both roots in the file of roots; then the new certificate and key; then the new root alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from controlplane.base.clock import Clock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca import plugged
from controlplane.ca.authority import Authority
from controlplane.ca.signer import pem
from controlplane.model.certificate import TrustBundle

_log = logging.getLogger(__name__)

_LOOK = 5.0


class Reload:
    """Follows the files in `folder`; `run` is its task.

    `publish(bundle)` is called before roots are told to anybody.  `behind()` gives the names of those
    who have not followed the last change: until there are none, the next waits.
    """

    def __init__(
        self, folder: Path, authority: Authority, clock: Clock, publish: Callable[[TrustBundle], None]
    ) -> None:
        self.behind: Callable[[], tuple[str, ...]] = tuple
        self._folder = folder
        self._authority = authority
        self._clock = clock
        self._publish = publish
        self._seen = plugged.stamp(folder)
        self._failed = False

    def reload(self) -> bool:
        """Take up what the files say now; whether anything is new.  EnvironmentUnfit says why not."""
        self._seen = plugged.stamp(self._folder)
        found = plugged.load(self._folder, self._clock.wall())
        present = self._authority
        if found.signer == present.signer and found.roots == present.roots:
            return False
        unsafe = plugged.unsafe_step(present.signer, present.roots, found)
        if unsafe:
            raise EnvironmentUnfit(f"{self._folder}: not taken up: {unsafe}")
        behind = self.behind()
        if behind:
            raise EnvironmentUnfit(
                f"{self._folder}: not taken up yet: {len(behind)} proxies have not followed the last change "
                f"({', '.join(behind[:3])})"
            )
        self._publish(TrustBundle(tuple(map(pem, found.roots))))
        present.replace(found.signer, found.roots)
        return True

    async def run(self) -> None:
        """Look until cancelled; what failed is tried again, and said once for each state of the files."""
        last = self._seen
        while True:
            await self._clock.sleep(_LOOK)
            now = plugged.stamp(self._folder)
            # Files come one by one: they count when they have stood still from one look to the next.
            settled, last = now == last, now
            if settled and (now != self._seen or self._failed):
                self._try(again=now == self._seen)

    def _try(self, *, again: bool) -> None:
        try:
            self.reload()
            self._failed = False
        except EnvironmentUnfit as error:
            self._failed = True
            level = logging.DEBUG if again else logging.ERROR
            _log.log(level, "the CA's new files are not taken up", extra={"reason": str(error)})
