"""Which RequestAuthentication objects hold for a workload."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q
from controlplane.model.keys import Key, Labels


class JwtRules(NamedTuple):
    """What the tokens of a workload's requests are checked by."""

    rules: tuple[str, ...] = ()


def request_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The RequestAuthentication objects in force for a workload: sorted by age."""
    return ()
