"""Checks of RequestAuthentications: is anybody chosen, and are the keys there that verify tokens?"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_selectors import unselected
from controlplane.model.describe import shorten
from controlplane.model.keys import Key
from controlplane.model.kinds import request_authentications
from controlplane.model.kinds.key_set import FetchedKeySet, key_set_key, key_sets
from controlplane.model.kinds.request_authentication import RequestAuthentication
from controlplane.model.problem import Problem


@query
def request_authentication_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """The Problems of one RequestAuthentication."""
    policy: RequestAuthentication | None = q.get(request_authentications, key)
    if policy is None:
        return ()
    findings = [*unselected(q, key.namespace, policy.selector), *_unfetched(q, policy)]
    return tuple(as_problem("RequestAuthentication", key, finding) for finding in findings)


def _unfetched(q: Q, policy: RequestAuthentication) -> Iterator[Finding]:
    for index, rule in enumerate(policy.jwt_rules):
        uri = rule.keys_from
        found: FetchedKeySet | None = q.get(key_sets, key_set_key(uri)) if uri else None
        if found is None or not found.fault:
            continue
        if not found.keys:
            outcome = f"tokens of issuer {shorten(rule.issuer)} are refused until it is there"
        else:
            outcome = "the one that was fetched last stays in use"
        yield Finding(
            f"spec.jwtRules[{index}]." + ("jwksUri" if rule.jwks_uri else "issuer"),
            f"{shorten(uri)} {found.fault}; {outcome}",
            "make it answer the control plane with a JWK set, or write the keys into jwks",
        )
