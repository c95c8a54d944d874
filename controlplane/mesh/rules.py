"""DestinationRules: which of them speaks for a service to a client, and what they say together.

Finding is apart from reading: `rule_keys` depends on hosts, exportTo and ages alone, so that an edit
of a policy re-runs only what is built from it.  The tuple of keys is a projection; clusters made for
equal tuples are shared by all scopes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import covers, is_partial, patterns_of, specificity
from controlplane.mesh.projections import Scope
from controlplane.mesh.service import ServiceId
from controlplane.mesh.settings import (
    default_policy,
    destination_rule_export_to,
    exported,
    resolved_export_to,
    root_namespace,
)
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels, Ref
from controlplane.model.kinds import destination_rules
from controlplane.model.kinds.destination_rule import (
    DestinationRule,
    PortTrafficPolicy,
    Subset,
    TrafficPolicy,
)


@dataclass(frozen=True, slots=True)
class MergedRule:
    """What the DestinationRules `sources` (oldest first) say together; `host` as a full name.

    The policy is the oldest rule's; the subsets are those of all, the first of a name.  `selected`:
    it holds for workloads that the rules choose.
    """

    host: str
    traffic_policy: TrafficPolicy | None
    subsets: tuple[Subset, ...]
    sources: tuple[Ref, ...]
    selected: bool = False

    def subset(self, name: str) -> Subset | None:
        """The subset of this name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


class RuleHead(NamedTuple):
    """What finding a rule needs to know of it; `selector` None: it is for all clients."""

    host: str
    export_to: tuple[str, ...]
    created: str
    selector: Labels | None


@query
def destination_rule(
    q: Q, client_namespace: str, id: ServiceId, selected: tuple[Key, ...] = ()
) -> MergedRule | None:
    """The rule in force for clients of a namespace that call this service; None where there is none.

    `selected` are the rules whose workloadSelector chose the client (`Scope.rules`).
    """
    keys = _rule_keys(q, client_namespace, id, selected)
    return q(merged_rule, keys) if keys else None


def rule_of(q: Q, scope: Scope, id: ServiceId) -> tuple[Key, ...]:
    """The rules in force for a scope: the projection that clusters are made for."""
    return _rule_keys(q, scope.namespace, id, scope.rules)


def _rule_keys(q: Q, namespace: str, id: ServiceId, selected: tuple[Key, ...]) -> tuple[Key, ...]:
    # Most services have no rule at all; then no scope keeps a node for having looked.
    if not q(rules_for_host, id.host):
        return ()
    return q(rule_keys, namespace, id, selected)


@query
def rules_for_host(q: Q, host: str) -> tuple[Key, ...]:
    """All DestinationRules whose host is or covers `host`, in every namespace."""
    found: set[Key] = set()
    for pattern in patterns_of(host):
        found.update(q.index(destination_rules, "host", pattern))
    for pattern in q.keys(q.map(partial_wildcards)):
        if covers(pattern, host):
            found.update(q.index(destination_rules, "host", pattern))
    return tuple(sorted(found))


@keyed
def partial_wildcards(q: Q) -> Plan:
    """Hosts like `*-v2.example.com`, which no index over whole labels finds -> their rules."""
    return group(q.members(destination_rules), _partial_wildcards)


@query
def _partial_wildcards(q: Q, key: Key) -> tuple[tuple[str, Key], ...]:
    head = q(rule_head, key)
    return ((head.host, key),) if is_partial(head.host) else ()


@query
def rule_head(q: Q, key: Key) -> RuleHead:
    """The head of an existing rule."""
    rule: DestinationRule = q.get(destination_rules, key)
    # A rule for selected workloads is in force in its own namespace only.
    said = (".",) if rule.workload_selector else rule.export_to
    return RuleHead(
        host=fqdn(rule.host, key.namespace),
        export_to=resolved_export_to(said, q(destination_rule_export_to), key.namespace),
        created=rule.meta.created,
        selector=rule.workload_selector or None,
    )


@query
def rule_keys(q: Q, client_namespace: str, id: ServiceId, selected: tuple[Key, ...]) -> tuple[Key, ...]:
    """The rules in force, oldest first: the client's namespace's, else the service's, else the root's.

    The first namespace that has a matching host decides alone.
    """
    heads = {key: q(rule_head, key) for key in q(rules_for_host, id.host)}
    for namespace in dict.fromkeys((client_namespace, id.namespace, q(root_namespace))):
        usable = {
            key: head
            for key, head in heads.items()
            if key.namespace == namespace
            and (head.selector is None or key in selected)
            and exported(head.export_to, client_namespace)
        }
        if usable:
            return _joined(usable)
    return ()


@query
def common_rule(q: Q, id: ServiceId) -> tuple[Key, ...] | None:
    """The rules in force for a service whoever calls it, oldest first; None where clients differ."""
    heads = {key: q(rule_head, key) for key in q(rules_for_host, id.host)}
    if not heads:
        return ()
    namespaces = {key.namespace for key in heads}
    # A client's own namespace comes before the service's, and both before the root's.
    if len(namespaces) > 1 or not namespaces <= {id.namespace, q(root_namespace)}:
        return None
    if any(head.selector is not None or head.export_to != ("*",) for head in heads.values()):
        return None
    return _joined(heads)


def _joined(usable: dict[Key, RuleHead]) -> tuple[Key, ...]:
    """Of one namespace's rules: those for the most specific host that may be joined with the first."""
    host = min((head.host for head in usable.values()), key=specificity)
    order = sorted(
        (key for key, head in usable.items() if head.host == host),
        key=lambda key: (usable[key].selector is None, usable[key].created, key),
    )
    first = usable[order[0]]
    return tuple(
        key
        for key in order
        if (usable[key].selector, usable[key].export_to) == (first.selector, first.export_to)
    )


@query
def merged_rule(q: Q, keys: tuple[Key, ...]) -> MergedRule:
    """What these rules (at least one, all existing, oldest first) say together."""
    rules: list[DestinationRule] = [q.get(destination_rules, key) for key in keys]
    subsets: dict[str, Subset] = {}
    for rule in rules:
        for subset in rule.subsets:
            subsets.setdefault(subset.name, subset)
    return MergedRule(
        host=fqdn(rules[0].host, keys[0].namespace),
        traffic_policy=rules[0].traffic_policy,
        subsets=tuple(subsets.values()),
        sources=tuple(Ref("DestinationRule", key.namespace, key.name) for key in keys),
        selected=bool(rules[0].workload_selector),
    )


_NOTHING = TrafficPolicy()


def effective_policy(rule: MergedRule | None, port: int, subset: str = "") -> TrafficPolicy:
    """The policy of one service port and subset, without port levels; empty where nothing is said.

    A port level replaces the four blocks it can hold, also those it leaves out; a subset overrides
    block by block, and its own port level again replaces.
    """
    if rule is None:
        return _NOTHING
    policy = _at_port(rule.traffic_policy or _NOTHING, rule.traffic_policy, port)
    chosen = rule.subset(subset) if subset else None
    if chosen is None or chosen.traffic_policy is None:
        return policy
    said = chosen.traffic_policy
    return _at_port(
        TrafficPolicy(
            load_balancer=said.load_balancer or policy.load_balancer,
            connection_pool=said.connection_pool or policy.connection_pool,
            outlier_detection=said.outlier_detection or policy.outlier_detection,
            tls=said.tls or policy.tls,
            tunnel=said.tunnel or policy.tunnel,
            proxy_protocol=said.proxy_protocol or policy.proxy_protocol,
            retry_budget=said.retry_budget or policy.retry_budget,
        ),
        said,
        port,
    )


def policy_of(q: Q, rule: MergedRule | None, port: int, subset: str = "") -> TrafficPolicy:
    """The policy of one service port and subset; blocks that no rule says are the mesh's."""
    said, inherited = effective_policy(rule, port, subset), q(default_policy)
    return replace(
        said,
        connection_pool=said.connection_pool or inherited.connection_pool,
        outlier_detection=said.outlier_detection or inherited.outlier_detection,
    )


def _at_port(policy: TrafficPolicy, levels: TrafficPolicy | None, port: int) -> TrafficPolicy:
    level = _level(levels, port)
    if level is None:
        return replace(policy, port_level_settings=())
    return replace(
        policy,
        load_balancer=level.load_balancer,
        connection_pool=level.connection_pool,
        outlier_detection=level.outlier_detection,
        tls=level.tls,
        port_level_settings=(),
    )


def _level(policy: TrafficPolicy | None, port: int) -> PortTrafficPolicy | None:
    levels = () if policy is None else policy.port_level_settings
    return next((level for level in levels if level.port == port), None)
