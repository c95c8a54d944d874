"""The guard of a workload: what its policies make of its inbound listener, by content and not by name.

Workloads whose policies come to the same share the listener's bytes, whoever wrote the policies.  What
guards HTTP requests and changes often is not here: it travels with the routes
(`controlplane.envoy.authorization_routes`).
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.envoy.inbound_tls import InboundTls, inbound_tls
from controlplane.graph import Q, query
from controlplane.mesh.authorization import ExtAuthz, TcpGuard, authorization_providers, tcp_guard
from controlplane.mesh.peer_authentication import peer_modes
from controlplane.mesh.projections import Security
from controlplane.mesh.request_authentication import JwtRules, jwt_rules
from controlplane.mesh.settings import mesh_tls, path_normalization


class Guard(NamedTuple):
    """How connections are taken, how tokens are checked, what TCP is allowed and whom requests are put to;
    and what is made of paths before policies look at them."""

    tls: InboundTls = InboundTls()
    jwt: JwtRules = JwtRules()
    tcp: TcpGuard = TcpGuard()
    providers: tuple[ExtAuthz, ...] = ()
    paths: str = "BASE"


@query
def guard(q: Q, namespace: str, security: Security) -> Guard:
    """The guard of the workloads of a namespace that these policies hold for."""
    tls = inbound_tls(q(peer_modes, security.peer), q(mesh_tls), identified=security.identified)
    return Guard(
        tls,
        jwt=q(jwt_rules, namespace, security),
        tcp=tcp_guard(q, namespace, security),
        providers=authorization_providers(q, namespace, security),
        paths=q(path_normalization),
    )
