"""Who may do what: AUDIT, then DENY, then ALLOW policies.

The filters are empty, and the last of them lets nothing pass: policies come with the routes.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.authorization_rbac import dry_run_prefix
from controlplane.envoy.authorization_routes import ALLOW, AUDIT, DENY
from controlplane.envoy.filters.chain import Chain, http_filter


def audit(chain: Chain) -> Any | None:
    """Where requests are guarded: marks those that AUDIT policies name for the access log."""
    return _empty(chain, AUDIT, "AUDIT")


def deny(chain: Chain) -> Any | None:
    """Where requests are guarded: refuses those that DENY policies name."""
    return _empty(chain, DENY, "DENY")


def allow(chain: Chain) -> Any | None:
    """Where requests are guarded: refuses those that no ALLOW policy names, and all where no route says."""
    return _empty(chain, ALLOW, "ALLOW", closed=True)


def _empty(chain: Chain, name: str, action: str, *, closed: bool = False) -> Any | None:
    if not chain.guarded:
        return None
    config = pb.http_rbac.RBAC(shadow_rules_stat_prefix=dry_run_prefix(action))
    if closed:
        config.rules.action = pb.rbac.RBAC.ALLOW
        config.rules.SetInParent()
    return http_filter(name, config)
