"""Which way traffic goes: of each resource, and the patches for either."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy import names
from controlplane.mesh.patches import Refs

VIRTUAL = (names.VIRTUAL_INBOUND, names.VIRTUAL_OUTBOUND)
"""The listeners of all ports."""


class Directions(NamedTuple):
    """The patches of both directions.

    `ports` are the (service port, own port) pairs of a gateway, whose routes are named by its own.
    """

    inbound: Refs
    outbound: Refs
    ports: tuple[tuple[int, int], ...] = ()

    def of(self, name: str) -> Refs:
        """The patches for a cluster or route configuration of this name."""
        return self.inbound if is_inbound(name) else self.outbound


def is_inbound(name: str) -> bool:
    """Whether a cluster or route configuration of this name leads to the application."""
    return name.startswith("inbound|") or name == names.INBOUND_PASSTHROUGH


def number_in(text: str) -> int:
    """The port in a part of a name; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() else 0
