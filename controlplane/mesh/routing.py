"""Which VirtualService speaks for a host, as a sidecar sees it.

For a host the most specific name among all visible VirtualServices decides: the host itself, then the
longest wildcard.  Among VirtualServices of that name those private to the client's own namespace come
first, then those exported to it by name, then the public ones, each by age; the first that has rules
of the asked kind wins, and nothing is merged (https://istio.io/latest/docs/reference/config/networking/
virtual-service/).

Everything is found through indexes: the host's own bucket and those of the wildcards above it.  What a
selection needs to know of a VirtualService is cut into small values, so that an edit of its rules does
not select anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import covers, is_partial, patterns_of, specificity
from controlplane.mesh.imports import egress_of
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing_delegates import http_rules
from controlplane.mesh.settings import exported, resolved_export_to, virtual_service_export_to
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.gateway import MESH
from controlplane.model.kinds.http_route import HTTPRoute
from controlplane.model.kinds.virtual_service import TCPRoute, TLSRoute, VirtualService

Layer = Literal["http", "tls", "tcp"]


class Attachment(NamedTuple):
    """What a selection needs to know of a VirtualService that serves sidecars.

    `hosts` are full names, sorted; `layers` the kinds of rules it has.
    """

    created: str
    key: Key
    hosts: tuple[str, ...]
    export_to: tuple[str, ...]
    layers: tuple[Layer, ...]


@query
def attachment(q: Q, key: Key) -> Attachment | None:
    """The VirtualService as far as selection goes; None for delegates and for those of gateways alone."""
    found: VirtualService | None = q.get(virtual_services, key)
    if found is None or not found.hosts or (found.gateways and MESH not in found.gateways):
        return None
    layers: tuple[Layer, ...] = ("http", "tls", "tcp")
    return Attachment(
        created=found.meta.created,
        key=key,
        hosts=tuple(sorted({fqdn(host, key.namespace) for host in found.hosts})),
        export_to=resolved_export_to(found.export_to, q(virtual_service_export_to), key.namespace),
        layers=tuple(layer for layer in layers if getattr(found, layer)),
    )


@query
def candidates(q: Q, host: str) -> tuple[tuple[Attachment, ...], ...]:
    """The VirtualServices whose names cover the host, by name, the most specific first.

    The same for all clients; () for most hosts, which spares their scopes any further question.
    """
    patterns = list(patterns_of(host))
    partial = [pattern for pattern in q.keys(q.part(_partial_hosts, (), True)) if covers(pattern, host)]
    if partial:
        patterns = sorted({*patterns, *partial}, key=specificity)
    tiers = []
    for pattern in patterns:
        found = (q(attachment, key) for key in q.index(virtual_services, "host", pattern))
        tier = tuple(sorted(one for one in found if one is not None))
        if tier:
            tiers.append(tier)
    return tuple(tiers)


def virtual_service(q: Q, scope: Scope, host: str, layer: Layer) -> Key | None:
    """The VirtualService in force for a host; None where there is none or it has no such rules."""
    for tier in q(candidates, host):
        seen = [one for one in tier if visible_route(q, scope, one)]
        if seen:
            ranked = sorted(seen, key=lambda one: _rank(scope.namespace, one))
            return next((one.key for one in ranked if layer in one.layers), None)
    return None


@query
def routed_alike(q: Q, host: str) -> bool:
    """Whether all clients without a Sidecar find the same VirtualService for a host, or none."""
    return all(one.export_to == ("*",) for tier in q(candidates, host) for one in tier)


def visible_route(q: Q, scope: Scope, one: Attachment) -> bool:
    """Whether it is exported to the scope and, under a Sidecar, imported by any of its hosts."""
    if not exported(one.export_to, scope.namespace):
        return False
    if scope.sidecar is None:
        return True
    listeners = q(egress_of, scope)
    if listeners is None:
        return True
    return any(listener.takes_route(one.key.namespace, host) for listener in listeners for host in one.hosts)


def _rank(namespace: str, one: Attachment) -> tuple[int, str, str, str]:
    return (closeness(namespace, one.key, one.export_to), one.created, one.key.name, one.key.namespace)


def closeness(namespace: str, key: Key, export_to: tuple[str, ...]) -> int:
    """Private before exported before public; see the module's text."""
    if namespace not in export_to:
        return 2
    return 0 if key.namespace == namespace else 1


@keyed
def _partial_hosts(q: Q) -> Plan:
    """True -> hosts with a wildcard inside a label ("*-v2.example.com"), which no host's parents name."""
    return group(q.members(virtual_services), _partial_hosts_of)


@query
def _partial_hosts_of(q: Q, key: Key) -> tuple[tuple[bool, str], ...]:
    one = q(attachment, key)
    return () if one is None else tuple((True, host) for host in one.hosts if is_partial(host))


@query
def source_selectors(q: Q) -> tuple[Labels, ...]:
    """All distinct `sourceLabels` in the mesh's VirtualServices; () for most meshes.

    A proxy's routes depend on which of these its labels satisfy, and never on the labels themselves.
    """
    return tuple(sorted({*q.keys(q.part(_selectors, (), "http")), *q(l4_selectors)}))


@query
def l4_selectors(q: Q) -> tuple[Labels, ...]:
    """Those of them that TLS and TCP rules use, on which listeners depend."""
    return q.keys(q.part(_selectors, (), "l4"))


@keyed
def _selectors(q: Q) -> Plan:
    """ "http" or "l4" -> every sourceLabels selector."""
    return group(q.members(virtual_services), _selectors_of)


@query
def _selectors_of(q: Q, key: Key) -> tuple[tuple[str, Labels], ...]:
    found: VirtualService = q.get(virtual_services, key)
    if not found.hosts:
        # What a delegate asks for is asked by those who delegate to it.
        return ()
    http = (("http", labels) for labels in selectors_of(http_rules(q, found)))
    return (*http, *(("l4", labels) for labels in selectors_of((*found.tls, *found.tcp))))


def selectors_of(rules: Iterable[HTTPRoute | TLSRoute | TCPRoute]) -> tuple[Labels, ...]:
    """The distinct `sourceLabels` selectors of rules, sorted."""
    return tuple(
        sorted({match.source_labels for rule in rules for match in rule.match if match.source_labels})
    )
