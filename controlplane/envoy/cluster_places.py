"""CDS and EDS of clusters that prefer near endpoints: one per place that callers are at.

Which services have such clusters is known without looking at any place, so that a place's maps hold theirs
and no others, and a mesh where nobody prefers anything has empty maps here.  Callers at two places that a
preference does not tell apart share the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.envoy.cluster_specs import Spec, cluster_specs
from controlplane.envoy.clusters import cluster
from controlplane.envoy.endpoints import load_assignment
from controlplane.envoy.maps import Maps, Pairs
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.locality import Place, standing
from controlplane.mesh.locality_preference import prefers_near
from controlplane.mesh.projections import ProxyView, Scope
from controlplane.mesh.rules import common_rule, rule_of
from controlplane.mesh.scope import limited_ports, particular_services, placed_services
from controlplane.mesh.service import ServiceId, service
from controlplane.model.keys import Key


class Caller(NamedTuple):
    """Who calls: where it stands, whether it has a certificate of its own, and whether it is a gateway."""

    place: Place
    mutual: bool
    edge: bool


def caller_of(view: ProxyView) -> Caller:
    """What of a proxy such clusters depend on, beside its scope."""
    return Caller(view.place, view.mutual, view.gateway is not None)


def placed_cluster_maps(view: ProxyView) -> Maps:
    """The maps that hold those clusters that hold their endpoints themselves."""
    caller = caller_of(view)
    own = (placed_particular_clusters, (view.scope, caller))
    return ((placed_clusters, (caller,)), own) if view.scope.sidecar is None else (own,)


def placed_assignment_maps(view: ProxyView) -> Maps:
    """The maps that hold the endpoints of the others, which are the same with a certificate and without."""
    caller = caller_of(view)._replace(mutual=False)
    own = (placed_particular_assignments, (view.scope, caller))
    return ((placed_assignments, (caller,)), own) if view.scope.sidecar is None else (own,)


@keyed
def placed_clusters(q: Q, caller: Caller) -> Plan:
    """Cluster name -> Resource, for the services that look the same to all callers of one place."""
    return flat(placed_services(q), _clusters_at_place, caller)


@query
def _clusters_at_place(q: Q, caller: Caller, id: ServiceId) -> Pairs:
    rule = q(common_rule, id) or ()
    return _clusters(q, caller, id, rule, q(cluster_specs, id, rule, None))


@keyed
def placed_particular_clusters(q: Q, scope: Scope, caller: Caller) -> Plan:
    """Cluster name -> Resource, for the other services that the scope sees."""
    return flat(q.map(placed_particular_services, scope), clusters_of, scope, caller)


@query
def clusters_of(q: Q, scope: Scope, caller: Caller, id: ServiceId) -> Pairs:
    """Those of a scope's clusters of a service that hold their endpoints, and prefer near ones."""
    rule = rule_of(q, scope, id)
    return _clusters(q, caller, id, rule, q(cluster_specs, id, rule, limited_ports(q, scope, id)))


def _clusters(q: Q, caller: Caller, id: ServiceId, rule: tuple[Key, ...], specs: tuple[Spec, ...]) -> Pairs:
    seen = (spec for spec in _seen(specs, caller) if spec.discovery != "EDS")
    pairs = ((spec.name, q(cluster, id, rule, spec, caller.mutual)) for spec in seen)
    return tuple((name, built) for name, built in pairs if built is not None)


def _seen(specs: tuple[Spec, ...], caller: Caller) -> Iterator[Spec]:
    """Those of a service's clusters that prefer near endpoints, as a caller has them."""
    for spec in map(at_edge, specs) if caller.edge else specs:
        if spec.placed and spec.preference is not None:
            yield spec._replace(place=standing(spec.preference, caller.place))


@keyed
def placed_assignments(q: Q, caller: Caller) -> Plan:
    """Cluster name -> Resource, for the services that look the same to all callers of one place."""
    return flat(placed_services(q), _assignments_at_place, caller)


@query
def _assignments_at_place(q: Q, caller: Caller, id: ServiceId) -> Pairs:
    rule = q(common_rule, id) or ()
    return _assignments(q, caller, id, q(cluster_specs, id, rule, None))


@keyed
def placed_particular_assignments(q: Q, scope: Scope, caller: Caller) -> Plan:
    """Cluster name -> Resource, for the other services that the scope sees."""
    return flat(q.map(placed_particular_services, scope), assignments_of, scope, caller)


@query
def assignments_of(q: Q, scope: Scope, caller: Caller, id: ServiceId) -> Pairs:
    """The endpoints of a scope's other clusters of a service that prefer near ones."""
    specs = q(cluster_specs, id, rule_of(q, scope, id), limited_ports(q, scope, id))
    return _assignments(q, caller, id, specs)


def _assignments(q: Q, caller: Caller, id: ServiceId, specs: tuple[Spec, ...]) -> Pairs:
    seen = (spec for spec in _seen(specs, caller) if spec.discovery == "EDS")
    return tuple((spec.name, q(load_assignment, id, spec)) for spec in seen)


def at_edge(spec: Spec) -> Spec:
    """What a gateway has instead: no connection says where it wanted to go, and Secrets are its to read."""
    discovery = "EDS" if spec.discovery == "ORIGINAL_DST" else spec.discovery
    return spec._replace(discovery=discovery, credential=spec.wanted)


@keyed
def placed_particular_services(q: Q, scope: Scope) -> Plan:
    """ServiceId -> the same, for the scope's own services with clusters that depend on the caller's place."""
    return each(q.map(particular_services, scope), _placed, scope)


@query
def _placed(q: Q, scope: Scope, id: ServiceId) -> ServiceId | None:
    found = q(service, id)
    return id if found is not None and prefers_near(q, found, rule_of(q, scope, id)) else None
