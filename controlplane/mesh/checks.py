"""What is wrong between objects: hosts, subsets and ports that are named but not there, and clashes.

Each object is checked alone and finds the others through indexes, so an edit re-checks what it
touches.  Everything here is a warning: the object is used as far as it goes, as in Istio.  Where the
object stands is for the store to add; it knows files and lines.
"""

from __future__ import annotations

from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.checks_authorization import authorization_policy_problems
from controlplane.mesh.checks_entries import service_entry_problems
from controlplane.mesh.checks_gateways import gateway_problems
from controlplane.mesh.checks_mesh import mesh_config_problems
from controlplane.mesh.checks_patches import envoy_filter_problems
from controlplane.mesh.checks_peers import peer_authentication_problems
from controlplane.mesh.checks_proxy_configs import proxy_config_problems
from controlplane.mesh.checks_requests import request_authentication_problems
from controlplane.mesh.checks_routes import virtual_service_problems
from controlplane.mesh.checks_rules import destination_rule_problems
from controlplane.mesh.checks_services import service_problems
from controlplane.mesh.checks_sidecars import sidecar_problems
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds import (
    authorization_policies,
    destination_rules,
    envoy_filters,
    gateways,
    mesh_configs,
    peer_authentications,
    proxy_configs,
    request_authentications,
    service_entries,
    services,
    sidecars,
    virtual_services,
)
from controlplane.model.problem import Problem

_CHECKED = {
    "AuthorizationPolicy": (authorization_policies, authorization_policy_problems),
    "DestinationRule": (destination_rules, destination_rule_problems),
    "EnvoyFilter": (envoy_filters, envoy_filter_problems),
    "Gateway": (gateways, gateway_problems),
    "MeshConfig": (mesh_configs, mesh_config_problems),
    "PeerAuthentication": (peer_authentications, peer_authentication_problems),
    "ProxyConfig": (proxy_configs, proxy_config_problems),
    "RequestAuthentication": (request_authentications, request_authentication_problems),
    "Service": (services, service_problems),
    "ServiceEntry": (service_entries, service_entry_problems),
    "Sidecar": (sidecars, sidecar_problems),
    "VirtualService": (virtual_services, virtual_service_problems),
}


@keyed
def checks(q: Q) -> Plan:
    """Ref -> the Problems of that object; objects without any are left out."""
    return each(tuple(q.map(_objects, kind) for kind in sorted(_CHECKED)), _problems)


@keyed
def _objects(q: Q, kind: str) -> Plan:
    """The names of all objects of one kind, as Refs."""
    return flat(q.members(_CHECKED[kind][0]), _ref, kind)


@query
def _ref(q: Q, kind: str, key: Key) -> tuple[tuple[Ref, Ref], ...]:
    ref = Ref(kind, key.namespace, key.name)
    return ((ref, ref),)


@query
def _problems(q: Q, ref: Ref) -> tuple[Problem, ...] | None:
    return q(_CHECKED[ref.kind][1], Key(ref.namespace, ref.name)) or None
