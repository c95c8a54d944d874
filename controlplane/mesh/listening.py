"""How a sidecar listens, whatever its listeners lead to: what its node says of addresses and of HTTP.

Nearly all sidecars of a mesh listen in one stance, so that they share the bytes of their listeners.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from controlplane.graph import Q
from controlplane.mesh.features import features
from controlplane.model.duration import parse_duration
from controlplane.model.proxy import Proxy

WILDCARD = "0.0.0.0"
LOOPBACK = "loopback"
"""Stands for 127.0.0.1 or ::1, whichever the proxy has."""
OWN_PORTS = (15021, 15090)
"""What a proxy serves itself: readiness, statistics."""
_WILDCARDS = {4: WILDCARD, 6: "::"}
_LOOPBACKS = {4: "127.0.0.1", 6: "::1"}


class Stance(NamedTuple):
    """What of a proxy's node its listeners depend on.

    `families` are the IP versions that it listens with, the first one by name.  `transparent`: connections
    come with the addresses that they were sent from and to (TPROXY).  `http10`: HTTP/1.0 is understood.
    `idle_timeout` of connections in nanoseconds, None = Envoy's.  `privileged`: it may bind ports below 1024.
    """

    families: tuple[int, ...] = (4,)
    transparent: bool = False
    http10: bool = False
    idle_timeout: int | None = None
    privileged: bool = True

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Any address, once per family."""
        return tuple(_WILDCARDS[family] for family in self.families)

    @property
    def loopback(self) -> str:
        """The address by which the application beside it calls it."""
        return _LOOPBACKS[self.families[0]]


USUAL = Stance()


def stance_of(q: Q, proxy: Proxy, *, binds: bool) -> Stance:
    """The stance of a sidecar; `binds`: it may have listeners of its own that bind."""
    switches = q(features)
    node = proxy.metadata
    families = tuple(dict.fromkeys(ipaddress.ip_address(ip).version for ip in proxy.ips or (proxy.ip,)))
    if len(families) > 1 and not switches.dual_stack:
        families = (4,)
    return Stance(
        families=families,
        transparent=node.interception_mode == "TPROXY",
        http10=switches.http10 or node.http10,
        # What cannot be one counts as not said: a proxy is not turned away for it.
        idle_timeout=max(parse_duration(node.idle_timeout) or 0, 0) or None,
        # Asked only where it matters, so that it does not tell others apart.
        privileged=not (binds and node.unprivileged_pod),
    )
