"""Authorization: which AuthorizationPolicy objects hold for a workload, and what they come to.

    AuthorizationPolicy ─┬ what it does ─ Layout of a set of policies ┬─ route configurations (envoy)
                         └ its rules, for HTTP and for TCP ───────────┴─ Guards ─ network filters (envoy)

Which policies hold is part of a workload's projection.  What they say is read here, by the key of the
policy, so that an edit runs again for those under it and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.authorization_ir import ExtAuthz, Grant, Guards, Stage, TcpGuard
from controlplane.mesh.authorization_providers import authorizer
from controlplane.mesh.authorization_rules import Reading, grants
from controlplane.mesh.projections import Security
from controlplane.mesh.settings import mesh_config, root_namespace
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import authorization_policies as policies
from controlplane.model.kinds.authorization_policy import AuthorizationPolicy

__all__ = [
    "BAD_PROVIDER",
    "ExtAuthz",
    "Layout",
    "Sides",
    "TcpGuard",
    "authorization_policies",
    "authorization_providers",
    "guards",
    "layout",
    "policy_grants",
    "tcp_guard",
]

BAD_PROVIDER = "-deny-due-to-bad-CUSTOM-action"
"""What the name of a rule ends in that denies because nobody can be asked."""


def authorization_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The AuthorizationPolicy objects in force for a workload: those of the root namespace first."""
    root = q(root_namespace)
    places = (root,) if namespace == root else (root, namespace)
    return tuple(key for place in places for key in q.selecting(policies, place, labels))


class Said(NamedTuple):
    """What a policy says besides its rules; `idle`: it has none."""

    action: str
    provider: str
    dry_run: bool
    idle: bool


class Sides(NamedTuple):
    """The policies of one action: those that hold and those that are only tried; None where there is none."""

    enforced: tuple[Key, ...] | None = None
    dry: tuple[Key, ...] | None = None


class Layout(NamedTuple):
    """Which policy does what; `refused` are those whose provider cannot be asked, and that deny instead."""

    custom: tuple[tuple[ExtAuthz, tuple[Key, ...]], ...] = ()
    refused: tuple[Key, ...] = ()
    audit: Sides = Sides()
    deny: Sides = Sides()
    allow: Sides = Sides()


@query
def trust_domains(q: Q) -> tuple[str, ...]:
    """The mesh's own trust domain and its aliases."""
    config = q(mesh_config)
    return tuple(dict.fromkeys((config.trust_domain, *config.trust_domain_aliases)))


@query
def policy_grants(q: Q, key: Key, http: bool) -> tuple[Grant, ...]:
    """The rules of a policy, read for HTTP or for other ports."""
    policy: AuthorizationPolicy | None = q.get(policies, key)
    if policy is None:
        return ()
    return grants(policy, Reading(key.namespace, q(trust_domains), http))


@query
def _said(q: Q, key: Key) -> Said | None:
    policy: AuthorizationPolicy | None = q.get(policies, key)
    if policy is None:
        return None
    return Said(policy.action, policy.provider, policy.dry_run, not policy.rules)


@query
def layout(q: Q, keys: tuple[Key, ...]) -> Layout:
    """What each of a workload's policies does; an edit of rules does not run it again."""
    said = {key: one for key in keys if (one := q(_said, key)) is not None}
    asking: dict[str, list[Key]] = {}
    for key, one in said.items():
        if one.action == "CUSTOM" and not one.dry_run and not one.idle:
            asking.setdefault(one.provider, []).append(key)
    known = {name: authorizer(q, name) for name in sorted(asking)}
    return Layout(
        custom=tuple((one, tuple(asking[name])) for name, one in known.items() if one is not None),
        refused=tuple(key for name, one in known.items() if one is None for key in asking[name]),
        audit=_sides(said, "AUDIT"),
        deny=_sides(said, "DENY"),
        allow=_sides(said, "ALLOW"),
    )


def _sides(said: Mapping[Key, Said], action: str) -> Sides:
    # Without rules they match nothing: the same as none, but for ALLOW, which then lets nothing pass.
    of_action = {key: one for key, one in said.items() if one.action == action}
    counting = {key: one for key, one in of_action.items() if action == "ALLOW" or not one.idle}
    enforced = tuple(key for key, one in counting.items() if not one.dry_run)
    dry = tuple(key for key, one in counting.items() if one.dry_run)
    return Sides(enforced or None, dry or None)


@query
def guards(q: Q, keys: tuple[Key, ...], http: bool) -> Guards:
    """What a set of policies comes to, rule by rule."""
    plan = q(layout, keys)
    deny = _stage(q, plan.deny, http)
    if plan.refused:
        refused = (replace(one, name=one.name + BAD_PROVIDER) for one in _joined(q, plan.refused, http))
        deny = Stage((*(deny.enforced or ()), *refused), deny.dry)
    return Guards(
        # Of connections only gRPC can be asked about.
        custom=tuple(
            (provider, Stage(_joined(q, asking, http)))
            for provider, asking in plan.custom
            if http or provider.grpc
        ),
        audit=_stage(q, plan.audit, http),
        deny=deny,
        allow=_stage(q, plan.allow, http),
    )


def _stage(q: Q, sides: Sides, http: bool) -> Stage:
    return Stage(*(None if keys is None else _joined(q, keys, http) for keys in sides))


def _joined(q: Q, keys: tuple[Key, ...], http: bool) -> tuple[Grant, ...]:
    return tuple(grant for key in keys for grant in q(policy_grants, key, http))


def tcp_guard(q: Q, namespace: str, security: Security) -> TcpGuard:
    """What connections to a workload's other ports must pass."""
    return TcpGuard(q(guards, security.authorization, False)) if security.authorization else TcpGuard()


def authorization_providers(q: Q, namespace: str, security: Security) -> tuple[ExtAuthz, ...]:
    """The external authorizers that a workload's HTTP requests may be shown to, sorted by name."""
    return tuple(provider for provider, _ in q(layout, security.authorization).custom)
