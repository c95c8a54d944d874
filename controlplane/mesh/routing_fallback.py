"""What happens to outbound traffic that nobody in the registry answers for."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing_ir import Target
from controlplane.mesh.settings import mesh_config
from controlplane.model.hosts import fqdn
from controlplane.model.kinds import sidecars
from controlplane.model.kinds.sidecar import OutboundTrafficPolicy, Sidecar


class Fallback(NamedTuple):
    """`allowed`: it goes where it wanted, or, where `proxy` is set, to that service; else it is refused.

    `dynamic`: HTTP goes to the host that it asks for, as the proxy resolves it, not to the address dialled.
    """

    allowed: bool = True
    proxy: Target | None = None
    dynamic: bool = False


@query
def fallback(q: Q, scope: Scope) -> Fallback:
    """The Sidecar's outboundTrafficPolicy, else the mesh's."""
    policy, namespace = q(_mesh_policy), ""
    if scope.sidecar is not None:
        sidecar: Sidecar | None = q.get(sidecars, scope.sidecar)
        if sidecar is not None and sidecar.outbound_traffic_policy is not None:
            policy, namespace = sidecar.outbound_traffic_policy, scope.sidecar.namespace
    if policy.mode == "REGISTRY_ONLY":
        return Fallback(allowed=False)
    if policy.mode == "ALLOW_ANY_DYNAMIC_DNS":
        return Fallback(dynamic=True)
    proxy = policy.egress_proxy
    if proxy is None or proxy.port is None:
        return Fallback()
    return Fallback(proxy=Target(fqdn(proxy.host, namespace), proxy.port, proxy.subset or ""))


@query
def _mesh_policy(q: Q) -> OutboundTrafficPolicy:
    return q(mesh_config).outbound_traffic_policy
