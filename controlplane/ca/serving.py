"""The control plane's own certificate: for the names by which proxies know it, from its own authority.

It is issued anew before two thirds of its life are over, and at once when another CA signs or the way
to the root is another.  A TLS door reads `current` at each handshake, so connections that stand are
not touched.  A key that takes long to make (RSA) is made in another thread, but for the first one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from controlplane.base.clock import Clock, sleep_unless
from controlplane.ca.authority import Authority, Change
from controlplane.ca.keys import PrivateKey
from controlplane.ca.leaf import Names
from controlplane.ca.refused import Refused
from controlplane.model.certificate import Certified

_log = logging.getLogger(__name__)

SERVICE_NAMES = (
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istio-pilot.istio-system.svc",
    "istio-pilot.istio-system.svc.cluster.local",
    "localhost",
)
"""What bootstraps of Istio's and of ours call it."""
LOOPBACK = ("127.0.0.1", "::1")

_SHARE = 0.6
_AGAIN = 60.0
# Near the end of the signer every certificate is nearly due: that must not become a loop without rest.
_LEAST = 1.0


def serving_names(more: Iterable[str] = ()) -> Names:
    """The names of the certificate: the usual ones, and `more` DNS names or IP addresses."""
    dns, ips = list(SERVICE_NAMES), list(LOOPBACK)
    for name in more:
        (ips if _is_address(name) else dns).append(name)
    return Names((), tuple(dict.fromkeys(dns)), tuple(dict.fromkeys(ips)))


class Serving:
    """Holds the certificate that is served now; `run` is the task that renews it.

    Raises `Refused` at once when the authority cannot issue one.
    """

    def __init__(self, authority: Authority, names: Names, clock: Clock) -> None:
        self._authority = authority
        self._names = names
        self._clock = clock
        self._issued = clock.wall()
        self._current = self._issue(None)
        self._changed = asyncio.Event()
        authority.on_change(self._on_change)

    @property
    def current(self) -> Certified:
        """What to present in handshakes; may be read from any thread."""
        return self._current

    async def run(self) -> None:
        """Renew until cancelled."""
        rest = 0.0
        while True:
            await sleep_unless(
                self._clock, max(_LEAST, rest, self._due() - self._clock.wall()), self._changed
            )
            rest = 0.0
            # A change of the authority meanwhile may have renewed it already.
            if not self._changed.is_set() and self._clock.wall() < self._due():
                continue
            self._changed.clear()
            authority = self._authority
            key = await asyncio.to_thread(authority.new_key) if authority.slow else None
            if not self._renew(key):
                rest = _AGAIN

    def _due(self) -> float:
        return self._issued + _SHARE * (self._current.not_after - self._issued)

    def _issue(self, key: PrivateKey | None) -> Certified:
        return self._authority.issue(self._names.uris, dns=self._names.dns, ips=self._names.ips, key=key)

    def _renew(self, key: PrivateKey | None = None) -> bool:
        now = self._clock.wall()
        try:
            self._current, self._issued = self._issue(key), now
        except Refused as error:
            _log.error("the control plane's own certificate cannot be renewed", extra={"reason": str(error)})
            return False
        _log.info("the control plane's own certificate is renewed", extra={"serial": self._current.serial})
        return True

    def _on_change(self, change: Change) -> None:
        if not change.signer:
            return
        if self._authority.slow:
            # By the task, a moment later: who comes meanwhile trusts the old root as well.
            self._changed.set()
        else:
            self._renew()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
