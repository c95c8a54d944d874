"""The router: sends requests where their route says."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter


def build(chain: Chain) -> Any:
    """Everywhere, at the end."""
    debug = chain.manners.headers.debug
    return http_filter("envoy.filters.http.router", pb.router.Router(suppress_envoy_headers=not debug))
