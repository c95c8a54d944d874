"""HTTP authorization travels with the routes: each route configuration says what its requests must pass.

The filters stand in every guarded chain and hold no policy.  Left to themselves they let nothing pass and
put everything to the providers, so that a route configuration without these entries is closed:

    filter                                the listener says      a route configuration says
    envoy.filters.http.rbac.custom.<p>    ask about everything   ask where a CUSTOM policy of <p> matches
    envoy.filters.http.rbac.audit         nothing                the AUDIT policies
    envoy.filters.http.rbac.deny          nothing                the DENY policies
    envoy.filters.http.rbac.allow         allow nothing          the ALLOW policies; empty: all may pass

A policy that comes, changes or goes is one route configuration, in force on open connections at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.authorization import PREFIX, asked_name
from controlplane.envoy.authorization_rbac import ACTIONS, dry_run_prefix, policy
from controlplane.graph import Q, query
from controlplane.mesh.authorization import BAD_PROVIDER, Layout, Sides, layout, policy_grants
from controlplane.mesh.authorization_providers import authorizer_names
from controlplane.mesh.projections import Security
from controlplane.model.keys import Key

RBAC = "envoy.filters.http.rbac"
AUDIT, DENY, ALLOW = f"{RBAC}.audit", f"{RBAC}.deny", f"{RBAC}.allow"


def custom_name(provider: str) -> str:
    """The filter that finds out whether a provider is asked."""
    return f"{RBAC}.custom.{provider}"


Rules = Iterable[tuple[str, bytes]]
"""The names of rules and their serialized Policy messages."""

_TYPED_PER_FILTER_CONFIG = 16
_TYPE = pb.TYPE_PREFIX + pb.http_rbac.RBACPerRoute.DESCRIPTOR.full_name


@query
def route_guard(q: Q, namespace: str, security: Security) -> bytes:
    """RouteConfiguration.typed_per_filter_config of a workload under these policies, serialized.

    To be appended to a route configuration whose filters are guarded: the field (16) is the last one.
    """
    return q(_guard, security.authorization)


@query
def _guard(q: Q, keys: tuple[Key, ...]) -> bytes:
    """Joined of the rules' bytes: an edit of one policy serializes that one."""
    entries = dict(_entries(q, q(layout, keys)))
    return b"".join(_entry(name, entries[name]) for name in sorted(entries, key=_order))


def _entries(q: Q, plan: Layout) -> Iterator[tuple[str, bytes]]:
    """Filter name -> RBAC; of ALLOW always, and of all providers: an old listener may still have them."""
    asking = {provider.name: keys for provider, keys in plan.custom}
    for name in q(authorizer_names):
        rules = [(asked_name(name, rule), body) for rule, body in _rules(q, asking.get(name, ()))]
        yield custom_name(name), _config(None, rules or None, "DENY", PREFIX)
    if plan.audit != Sides():
        yield AUDIT, _sides(q, plan.audit, "AUDIT")
    if plan.deny != Sides() or plan.refused:
        refused = [(rule + BAD_PROVIDER, body) for rule, body in _rules(q, plan.refused)]
        yield DENY, _sides(q, plan.deny, "DENY", refused)
    yield ALLOW, _sides(q, plan.allow, "ALLOW")


def _sides(q: Q, sides: Sides, action: str, more: Rules = ()) -> bytes:
    enforced, dry = (None if keys is None else [*_rules(q, keys)] for keys in sides)
    if more:
        enforced = [*(enforced or ()), *more]
    return _config(enforced, dry, action, "" if dry is None else dry_run_prefix(action))


def _rules(q: Q, keys: Iterable[Key]) -> Rules:
    return (rule for key in keys for rule in q(_policies, key))


@query
def _policies(q: Q, key: Key) -> tuple[tuple[str, bytes], ...]:
    """A policy's rules: their names, and what Envoy calls a Policy."""
    return tuple((grant.name, pb.deterministic(policy(grant))) for grant in q(policy_grants, key, True))


# The messages in bytes, field by field; tests hold them against what serializing them gives.


def _config(enforced: Rules | None, shadow: Rules | None, action: str, prefix: str) -> bytes:
    """extensions.filters.http.rbac.v3.RBAC: rules = 1, shadow_rules = 2, shadow_rules_stat_prefix = 3."""
    parts = [
        wire.length_delimited(number, _rbac(action, rules))
        for number, rules in ((1, enforced), (2, shadow))
        if rules is not None
    ]
    return b"".join((*parts, wire.string(3, prefix)))


def _rbac(action: str, rules: Rules) -> bytes:
    """config.rbac.v3.RBAC: action = 1, policies = 2, a map."""
    pairs = sorted(rules, key=lambda rule: _order(rule[0]))
    return b"".join((wire.uint(1, ACTIONS[action]), *(_pair(2, name, body) for name, body in pairs)))


def _entry(name: str, config: bytes) -> bytes:
    """One entry of the map: an Any (type_url = 1, value = 2) of an RBACPerRoute (rbac = 2)."""
    per_route = wire.length_delimited(2, config)
    packed = wire.string(1, _TYPE) + wire.length_delimited(2, per_route)
    return _pair(_TYPED_PER_FILTER_CONFIG, name, packed)


def _order(key: str) -> bytes:
    """Keys of a map as Google's serializer sorts them: a key comes after those that begin with it."""
    return key.encode() + b"\xff"


def _pair(number: int, key: str, value: bytes) -> bytes:
    """One entry of a map with strings as keys and messages as values."""
    return wire.length_delimited(number, wire.string(1, key) + wire.length_delimited(2, value))
