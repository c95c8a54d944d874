"""Affinity: what requests are hashed on, as DestinationRules of the destinations ask.

The keys to hash on belong to the route while the ring belongs to the cluster, so routes depend on
DestinationRules as well, but only where one for the destination's host has a consistent hash at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.graph import Q, query
from controlplane.mesh.imports import nearest_service
from controlplane.mesh.projections import Scope
from controlplane.mesh.routing_ir import HashKey, Target
from controlplane.mesh.routing_match import Affinity
from controlplane.mesh.rules import common_rule, effective_policy, merged_rule, rule_of, rules_for_host
from controlplane.mesh.service import services_of_host
from controlplane.model.keys import Key
from controlplane.model.kinds import destination_rules
from controlplane.model.kinds.destination_rule import DestinationRule, PortTrafficPolicy, TrafficPolicy
from controlplane.model.kinds.load_balancing import ConsistentHashLB


@query
def may_hash(q: Q, host: str) -> bool:
    """Whether any DestinationRule for the host, whoever it is in force for, has a consistent hash."""
    return any(q(_rule_hashes, key) for key in q(rules_for_host, host))


@query
def _rule_hashes(q: Q, key: Key) -> bool:
    rule: DestinationRule = q.get(destination_rules, key)
    policies = (rule.traffic_policy, *(subset.traffic_policy for subset in rule.subsets))
    return any(_hash_of(level) is not None for policy in policies for level in _levels(policy))


def _levels(policy: TrafficPolicy | None) -> Iterator[TrafficPolicy | PortTrafficPolicy]:
    if policy is not None:
        yield policy
        yield from policy.port_level_settings


def _hash_of(policy: TrafficPolicy | PortTrafficPolicy) -> ConsistentHashLB | None:
    return None if policy.load_balancer is None else policy.load_balancer.consistent_hash


def hashed_alike(q: Q, host: str) -> bool:
    """Whether the affinity for a host is the same for all clients."""
    if not q(may_hash, host):
        return True
    ids = q(services_of_host, host)
    return not ids or (len(ids) == 1 and q(common_rule, ids[0]) is not None)


def affinity_of(q: Q, scope: Scope, hosts: Iterable[str]) -> Affinity:
    """The rules in force in a scope for those of the hosts that may be hashed for."""
    out = []
    for host in hosts:
        id = q(nearest_service, scope.namespace, host) if q(may_hash, host) else None
        rules = () if id is None else rule_of(q, scope, id)
        if rules:
            out.append((host, rules))
    return tuple(sorted(out))


def hash_keys(q: Q, affinity: Affinity, target: Target) -> tuple[HashKey, ...]:
    """What requests to a target are hashed on; () for no affinity."""
    rules = next((rules for host, rules in affinity if host == target.host), ())
    if not rules:
        return ()
    found = _hash_of(effective_policy(q(merged_rule, rules), target.port, target.subset))
    return () if found is None else _keys(found)


def _keys(found: ConsistentHashLB) -> tuple[HashKey, ...]:
    if found.http_header_name:
        return (HashKey("header", found.http_header_name),)
    if found.http_cookie is not None:
        cookie = found.http_cookie
        return (HashKey("cookie", cookie.name, cookie.ttl, cookie.path or "", cookie.attributes),)
    if found.use_source_ip:
        return (HashKey("source_ip"),)
    if found.http_query_parameter_name:
        return (HashKey("query", found.http_query_parameter_name),)
    return ()
