"""Which addresses may be dialled for a URI that a user wrote.

Whoever may write a RequestAuthentication makes the control plane ask a URI of theirs.  What it answers is
not shown to them, but some places take the asking itself for an order, and give secrets to whoever asks:
the metadata services of clouds.  So it is the address that counts, after names are resolved, and for each
connection anew.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from controlplane.base.networks import Network

NEVER: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Azure, Google, Oracle, ...
            "fe80::/10",
            "fd00:ec2::254/128",  # AWS over IPv6
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's wire server
            "192.0.0.192/32",  # Oracle
            "0.0.0.0/8",  # "this host", which most systems take for loopback
            "::/128",
            "224.0.0.0/4",
            "ff00::/8",
        ),
    )
)
"""Link-local, the other addresses of metadata services, and what is no single host."""

_NAT64 = ip_network("64:ff9b::/96")


class Reach(NamedTuple):
    """What may be dialled: all but NEVER and what the operator blocks."""

    blocked: tuple[Network, ...] = ()

    def allows(self, address: str) -> bool:
        """Whether this address, as text, may be dialled; what is none may not."""
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return not any(
            one.version == network.version and one in network
            for one in _meanings(found)
            for network in (*NEVER, *self.blocked)
        )


def _meanings(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and the IPv4 one that it carries."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address, address.ipv4_mapped)
    if address in _NAT64:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)
