"""Which AuthorizationPolicy objects hold for a workload."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q
from controlplane.model.keys import Key, Labels


class TcpGuard(NamedTuple):
    """What connections to ports that speak no HTTP are checked by."""

    policies: tuple[str, ...] = ()


class ExtAuthz(NamedTuple):
    """An external authorizer that some policy asks."""

    name: str


def authorization_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The AuthorizationPolicy objects in force for a workload: those of the root namespace first."""
    return ()
