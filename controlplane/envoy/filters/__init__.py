"""The HTTP filters of sidecars: one file each; the order of FILTERS is the order in the chain.

To add one: write its file with a `build`, and name it below.  It returns a filter, a tuple of them, or None.
Only what stock Envoy has is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.envoy.filters import (
    authorization,
    cors,
    custom_authorization,
    dynamic_forward_proxy,
    fault,
    grpc_stats,
    grpc_web,
    jwt_authn,
    on_demand,
    router,
)
from controlplane.envoy.filters.chain import Chain

FILTERS: tuple[Callable[[Chain], Any | None], ...] = (
    # What stands before it would see a request without its route, and not be asked again.
    on_demand.build,
    custom_authorization.build,
    jwt_authn.build,
    authorization.audit,
    authorization.deny,
    authorization.allow,
    grpc_web.build,
    grpc_stats.build,
    fault.build,
    cors.build,
    dynamic_forward_proxy.build,
    # The router answers; nothing after it would ever be reached.
    router.build,
)


def http_filters(chain: Chain) -> list[Any]:
    """The filters of one HTTP connection manager, in order."""
    found: list[Any] = []
    for build in FILTERS:
        built = build(chain)
        if isinstance(built, tuple):
            found += built
        elif built is not None:
            found.append(built)
    return found
