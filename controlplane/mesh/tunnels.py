"""Tunnels: TCP that is carried through an HTTP proxy, for destinations whose DestinationRule says so.

The rule is the destination's, which need not be the host that was called: a VirtualService may lead
connections for a server outside to a forward proxy.  Few meshes have tunnels; the others pay with one look.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from controlplane.graph import Q, query
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.projections import Scope
from controlplane.mesh.rules import rule_of, rules_for_host
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import destination_rules, virtual_services
from controlplane.model.kinds.virtual_service import VirtualService

Tunnels: TypeAlias = tuple[tuple[str, tuple[Key, ...]], ...]
"""Hosts that are reached through tunnels, with the rules in force for them, sorted."""


@query
def has_tunnel(q: Q, host: str) -> bool:
    """Whether some rule for a host has a tunnel."""
    found = q.index(destination_rules, "tunnel", True)
    if not found:
        return False
    rules = q(rules_for_host, host)
    return not set(found).isdisjoint(rules)


@query
def tunnelled_hosts(q: Q, route: Key, layer: Literal["tls", "tcp"]) -> tuple[str, ...]:
    """The destinations of a VirtualService's connections that may be reached through tunnels."""
    found: VirtualService | None = q.get(virtual_services, route)
    if found is None or not q.index(destination_rules, "tunnel", True):
        return ()
    rules = found.tls if layer == "tls" else found.tcp
    hosts = {fqdn(share.destination.host, route.namespace) for rule in rules for share in rule.route}
    return tuple(host for host in sorted(hosts) if q(has_tunnel, host))


def tunnels_of(q: Q, scope: Scope, route: Key, layer: Literal["tls", "tcp"]) -> Tunnels:
    """The same, with the rules that hold in a scope."""
    found = ((host, _rules(q, scope, host)) for host in q(tunnelled_hosts, route, layer))
    return tuple((host, rules) for host, rules in found if rules)


def _rules(q: Q, scope: Scope, host: str) -> tuple[Key, ...]:
    id = q(nearest_service, scope.namespace, host)
    return () if id is None else rule_of(q, scope, id)
