"""The control plane's own certificate: for the names by which proxies know it, from its own authority.

It is issued anew before two thirds of its life are over, and at once when another CA signs or the way
to the root is another.  A TLS door reads `current` at each handshake, so connections that stand are
not touched.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable

from controlplane.base.clock import Clock
from controlplane.ca.authority import Authority, Change
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
        self._current = self._issue()
        authority.on_change(self._on_change)

    @property
    def current(self) -> Certified:
        """What to present in handshakes; may be read from any thread."""
        return self._current

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self._clock.sleep(max(_LEAST, self._due() - self._clock.wall()))
            # A change of the authority meanwhile has renewed it already.
            if self._clock.wall() >= self._due() and not self._renew():
                await self._clock.sleep(_AGAIN)

    def _due(self) -> float:
        return self._issued + _SHARE * (self._current.not_after - self._issued)

    def _issue(self) -> Certified:
        return self._authority.issue(self._names.uris, dns=self._names.dns, ips=self._names.ips)

    def _renew(self) -> bool:
        now = self._clock.wall()
        try:
            self._current, self._issued = self._issue(), now
        except Refused as error:
            _log.error("the control plane's own certificate cannot be renewed", extra={"reason": str(error)})
            return False
        _log.info("the control plane's own certificate is renewed", extra={"serial": self._current.serial})
        return True

    def _on_change(self, change: Change) -> None:
        if change.signer:
            self._renew()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
