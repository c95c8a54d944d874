"""Which key sets have to be fetched: one row per URI that some RequestAuthentication names.

All that are configured, not only those in force for a proxy that is connected: keys shall be there before
the proxy is.
"""

from __future__ import annotations

from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.remote_keys import DEFAULT_TIMEOUT, fetched_by
from controlplane.model.duration import SECOND
from controlplane.model.keys import Key
from controlplane.model.kinds import request_authentications
from controlplane.model.kinds.request_authentication import RequestAuthentication

LONGEST = 30.0
"""A policy may not hold the control plane's attention for longer."""


@keyed
def wanted_key_sets(q: Q) -> Plan:
    """URI -> seconds that a fetch may take, at most LONGEST; of several policies the first by name counts."""
    return flat(q.members(request_authentications), _wanted)


@query
def _wanted(q: Q, key: Key) -> tuple[tuple[str, float], ...]:
    policy: RequestAuthentication | None = q.get(request_authentications, key)
    if policy is None:
        return ()
    found: dict[str, float] = {}
    by_proxies = q(fetched_by) == "envoy"
    for rule in policy.jwt_rules:
        if by_proxies and rule.jwks_uri:
            continue
        if rule.keys_from:
            seconds = (DEFAULT_TIMEOUT if rule.timeout is None else rule.timeout) / SECOND
            found[rule.keys_from] = min(LONGEST, max(seconds, found.get(rule.keys_from, 0.0)))
    return tuple(sorted(found.items()))
