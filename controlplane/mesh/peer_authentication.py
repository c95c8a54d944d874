"""Which PeerAuthentication objects hold for a workload."""

from __future__ import annotations

from controlplane.graph import Q
from controlplane.model.keys import Key, Labels


def peer_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The PeerAuthentications in force: at most one of the workload, the namespace and the mesh each."""
    return ()
