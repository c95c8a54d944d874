"""Giving addresses: who gets which virtual IP of a network that is nobody's.

240.240.0.0/16 is of the block that was never handed out (240.0.0.0/4), and is what Istio uses.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from typing import TypeAlias

NETWORK = ipaddress.IPv4Network("240.240.0.0/16")
Claimant: TypeAlias = tuple[str, str]
"""A host, and the namespace that defines it."""

_FIRST = int(NETWORK.network_address) + 1
_COUNT = NETWORK.num_addresses - 2


def is_ours(address: str) -> bool:
    """Whether a text is an address of the network."""
    try:
        return ipaddress.ip_address(address) in NETWORK
    except ValueError:
        return False


def assign(
    wanted: Mapping[Claimant, tuple[str, ...]], standing: Mapping[Claimant, str]
) -> dict[Claimant, str]:
    """Who is given which address: everybody keeps what he has, unless somebody else names it as his own.

    A new one gets the address that the hash of its name points to, or the next that is free; so that without
    a memory nearly all get the same again.  Who finds the network full gets none.
    """
    owned = {address for own in wanted.values() for address in own}
    asking = sorted(id for id, own in wanted.items() if not own)
    given: dict[Claimant, str] = {}
    taken = set(owned)
    for id in asking:
        held = standing.get(id)
        if held is not None and held not in taken:
            given[id] = held
            taken.add(held)
    for id in asking:
        if id not in given:
            found = _next_free(id, taken)
            if found:
                given[id] = found
                taken.add(found)
    return given


def _next_free(id: Claimant, taken: set[str]) -> str:
    digest = hashlib.blake2b("/".join(id).encode(), digest_size=8).digest()
    start = int.from_bytes(digest, "big") % _COUNT
    for step in range(_COUNT):
        address = str(ipaddress.IPv4Address(_FIRST + (start + step) % _COUNT))
        if address not in taken:
            return address
    return ""
