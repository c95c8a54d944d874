"""One endpoint: an address that answers for a port of a service, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.model.keys import Labels
from controlplane.model.locality import Locality

NOWHERE = Locality()
"""A place of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`address` is an IP, a DNS name or unix:///path (then `port` is 0).

    `healthy` False: not ready; it gets no traffic but is known.  `weight` counts from 1; `network` ""
    is the default network; `hostname` is the pod's name within a headless service.  `mutual`: a sidecar
    with a certificate stands before it, and takes mutual TLS there.  `node` is its machine, "" where unknown.
    """

    address: str
    port: int
    labels: Labels = ()
    locality: Locality = NOWHERE
    weight: int = 1
    healthy: bool = True
    service_account: str = ""
    network: str = ""
    hostname: str = ""
    mutual: bool = False
    node: str = ""


def distinct(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Sorted by address and port, each once; where one is said to be ready and not ready, it is ready."""
    found: dict[tuple[str, int], Endpoint] = {}
    for endpoint in endpoints:
        where = (endpoint.address, endpoint.port)
        known = found.get(where)
        if known is None or (endpoint.healthy and not known.healthy):
            found[where] = endpoint
    return tuple(found[where] for where in sorted(found))
