"""Authorization: which AuthorizationPolicy objects hold for a workload, and what they come to.

    AuthorizationPolicy ─ grants per policy (HTTP, TCP) ─ Guards per set of policies ─ route configurations
                                                                                     └ network filters

Which policies hold is part of a workload's projection.  What they say is read here, by the key of the
policy, so that an edit runs again for those under it and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.authorization_ir import NOTHING, ExtAuthz, Grant, Guards, Stage, TcpGuard
from controlplane.mesh.authorization_providers import authorizer
from controlplane.mesh.authorization_rules import Reading, grants
from controlplane.mesh.projections import Security
from controlplane.mesh.settings import mesh_config, root_namespace
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import authorization_policies as policies
from controlplane.model.kinds.authorization_policy import AuthorizationPolicy

__all__ = [
    "ExtAuthz",
    "TcpGuard",
    "authorization_policies",
    "authorization_providers",
    "http_guards",
    "tcp_guard",
]

BAD_PROVIDER = "-deny-due-to-bad-CUSTOM-action"
"""What the name of a rule ends in that denies because nobody can be asked."""


def authorization_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The AuthorizationPolicy objects in force for a workload: those of the root namespace first."""
    root = q(root_namespace)
    places = (root,) if namespace == root else (root, namespace)
    return tuple(key for place in places for key in q.selecting(policies, place, labels))


class _Said(NamedTuple):
    """One policy, read for HTTP or for TCP."""

    action: str
    provider: str
    dry_run: bool
    grants: tuple[Grant, ...]


@query
def trust_domains(q: Q) -> tuple[str, ...]:
    """The mesh's own trust domain and its aliases."""
    config = q(mesh_config)
    return tuple(dict.fromkeys((config.trust_domain, *config.trust_domain_aliases)))


@query
def _said(q: Q, key: Key, http: bool) -> _Said | None:
    policy: AuthorizationPolicy | None = q.get(policies, key)
    if policy is None:
        return None
    found = grants(policy, Reading(key.namespace, q(trust_domains), http))
    return _Said(policy.action, policy.provider, policy.dry_run, found)


@query
def _guards(q: Q, keys: tuple[Key, ...], http: bool) -> Guards:
    """What a set of policies comes to; those that ask somebody unknown deny instead."""
    said = [one for key in keys if (one := q(_said, key, http)) is not None]
    asked: list[tuple[ExtAuthz, Stage]] = []
    refused: list[Grant] = []
    custom = [one for one in said if one.action == "CUSTOM" and not one.dry_run and one.grants]
    for name in sorted({one.provider for one in custom}):
        rules = tuple(grant for one in custom if one.provider == name for grant in one.grants)
        provider = authorizer(q, name)
        if provider is None:
            refused += (replace(grant, name=grant.name + BAD_PROVIDER) for grant in rules)
        elif http or provider.grpc:
            asked.append((provider, Stage(rules)))
    deny = _stage(said, "DENY")
    if refused:
        deny = Stage((*(deny.enforced or ()), *refused), deny.dry)
    return Guards(tuple(asked), _stage(said, "AUDIT"), deny, _stage(said, "ALLOW"))


def _stage(said: Iterable[_Said], action: str) -> Stage:
    of_action = [one for one in said if one.action == action]
    enforced = [one for one in of_action if not one.dry_run]
    dry = [one for one in of_action if one.dry_run]
    stage = Stage(_joined(enforced), _joined(dry))
    if action == "ALLOW":
        return stage
    # Without rules they match nothing: the same as none.
    return Stage(stage.enforced or None, stage.dry or None) if any(stage) else NOTHING


def _joined(said: list[_Said]) -> tuple[Grant, ...] | None:
    return tuple(grant for one in said for grant in one.grants) if said else None


def http_guards(q: Q, security: Security) -> Guards:
    """What HTTP requests to a workload must pass."""
    return q(_guards, security.authorization, True) if security.authorization else Guards()


def tcp_guard(q: Q, namespace: str, security: Security) -> TcpGuard:
    """What connections to a workload's other ports must pass."""
    return TcpGuard(q(_guards, security.authorization, False)) if security.authorization else TcpGuard()


def authorization_providers(q: Q, namespace: str, security: Security) -> tuple[ExtAuthz, ...]:
    """The external authorizers that a workload's HTTP requests may be shown to, sorted by name."""
    return tuple(provider for provider, _ in http_guards(q, security).custom)
