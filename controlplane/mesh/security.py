"""Security: which policies hold for a workload.

Only their names are in a projection; what they say is read by whoever builds from it, so that an edit of a
policy moves no proxy to another scope.
"""

from __future__ import annotations

from controlplane.graph import Q
from controlplane.mesh.authorization import authorization_policies
from controlplane.mesh.peer_authentication import peer_policies
from controlplane.mesh.projections import Security
from controlplane.mesh.request_authentication import request_policies
from controlplane.model.keys import Labels


def security_of(q: Q, namespace: str, labels: Labels, *, identified: bool) -> Security:
    """The policies for a workload with these labels; `identified`: its proxy has a certificate."""
    return Security(
        identified=identified,
        peer=peer_policies(q, namespace, labels),
        requests=request_policies(q, namespace, labels),
        authorization=authorization_policies(q, namespace, labels),
    )
