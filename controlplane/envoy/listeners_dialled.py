"""The listeners of a sidecar to which nothing is redirected: its application dials it at loopback.

There every service of a port is found at one place, and who is called only HTTP and TLS can tell.  Services
keep the claims that they have elsewhere; here is where those come together.
"""

from __future__ import annotations

from controlplane.envoy.listeners_binds import Bind, Claim
from controlplane.envoy.listeners_claims import claims_in_scope, common_claims, particular_sources
from controlplane.graph import Plan, Q, Source, group, keyed, query
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.scope import common_services
from controlplane.mesh.service import ServiceId


@keyed
def common_dialled(q: Q, dns: bool) -> Plan:
    """Bind -> claims of common services; `dns`: of clients whose proxy answers names."""
    return group(common_services(q), _common_dialled, dns)


@query
def _common_dialled(q: Q, dns: bool, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(common_claims, dns, id).dialled()


@keyed
def particular_dialled(q: Q, scope: RouteScope) -> Plan:
    """Bind -> claims that are particular to a scope."""
    return group(particular_sources(q, scope), _particular_dialled, scope)


@query
def _particular_dialled(q: Q, scope: RouteScope, id: ServiceId) -> tuple[tuple[Bind, Claim], ...]:
    return q(claims_in_scope, scope, id).dialled()


def dialled_binds(q: Q, scope: RouteScope) -> tuple[Source, ...]:
    """The places at which a scope has a listener."""
    particular = q.map(particular_dialled, scope)
    return (particular,) if scope.scope.sidecar else (q.map(common_dialled, scope.dns), particular)


def dialled_claims(q: Q, scope: RouteScope, bind: Bind) -> tuple[Claim, ...]:
    """All claims that meet in a scope at one of them, oldest first."""
    found = set(q.keys(q.part(particular_dialled, (scope,), bind)))
    if scope.scope.sidecar is None:
        found.update(q.keys(q.part(common_dialled, (scope.dns,), bind)))
    return tuple(sorted(found))
