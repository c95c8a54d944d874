"""Which virtual host answers for a name: what Envoy looks up in a whole route configuration, one name
at a time.

Envoy tries the exact name first, then the longest pattern that covers it
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto).  Names are
therefore filed by themselves and patterns together: a look-up depends on who has this very name, and
on the few hosts that have patterns.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.routing_hosts import (
    ANYWHERE,
    HostSpec,
    domains,
    host_facts,
    host_spec,
    unregistered_spec,
)
from controlplane.mesh.routing_members import far_members, particular_members
from controlplane.mesh.routing_unregistered import Unregistered
from controlplane.mesh.service import ServiceId

_PATTERNS = "*"


def member_spec(q: Q, scope: RouteScope, port: int, member: ServiceId | Unregistered) -> HostSpec | None:
    """The projection of a particular member's virtual host; None where it has none."""
    if isinstance(member, Unregistered):
        return unregistered_spec(q, scope, port, member)
    return host_spec(q, scope, port, member)


def without_port(authority: str) -> str:
    """A Host header without its port, in lower case; an IPv6 address keeps its brackets."""
    colon = authority.rfind(":")
    return (authority if colon < 0 or "]" in authority[colon:] else authority[:colon]).lower()


def spec_for(q: Q, scope: RouteScope, port: int, authority: str) -> HostSpec | None:
    """The projection of the virtual host that a Host header leads to; None when nobody has the name."""
    name = without_port(authority)
    exact = next(_filed(q, scope, port, name), None)
    if exact is not None:
        return exact
    fitting = [
        (len(pattern), pattern, spec)
        for spec in _filed(q, scope, port, _PATTERNS)
        for pattern in domains(q, spec)
        if pattern.startswith("*") and len(pattern) <= len(name) and name.endswith(pattern[1:].lower())
    ]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else None


def _filed(q: Q, scope: RouteScope, port: int, under: str) -> Iterator[HostSpec]:
    if scope.scope.sidecar is None:
        for id in q.keys(q.part(far_names, (port,), under)):
            facts, spec = q(host_facts, id, port), host_spec(q, ANYWHERE, port, id)
            # At home it has more names, and is among the particular ones: one virtual host for all of them.
            if facts is not None and spec is not None and scope.scope.namespace not in facts.homes:
                yield spec
    for member in q.keys(q.part(particular_names, (scope, port), under)):
        spec = member_spec(q, scope, port, member)
        if spec is not None:
            yield spec


@keyed
def far_names(q: Q, port: int) -> Plan:
    """Name -> services that look the same to all clients elsewhere; those with patterns under "*"."""
    return group(far_members(q, port), _far_names, port)


@query
def _far_names(q: Q, port: int, id: ServiceId) -> tuple[tuple[str, ServiceId], ...]:
    spec = host_spec(q, ANYWHERE, port, id)
    return () if spec is None else tuple((name, id) for name in _files(q, spec))


@keyed
def particular_names(q: Q, scope: RouteScope, port: int) -> Plan:
    """Name -> ServiceId or Unregistered, for what only the scope has, or has in another form."""
    return group(particular_members(q, scope.scope, port), _particular_names, scope, port)


@query
def _particular_names(
    q: Q, scope: RouteScope, port: int, member: ServiceId | Unregistered
) -> tuple[tuple[str, ServiceId | Unregistered], ...]:
    spec = member_spec(q, scope, port, member)
    return () if spec is None else tuple((name, member) for name in _files(q, spec))


def _files(q: Q, spec: HostSpec) -> tuple[str, ...]:
    """Under what a virtual host is filed."""
    return tuple(
        dict.fromkeys(_PATTERNS if name.startswith("*") else name.lower() for name in domains(q, spec))
    )
