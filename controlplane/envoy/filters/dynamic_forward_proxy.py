"""Resolves the host of a request whose route leads to a cluster that goes wherever it is asked to."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.dynamic_dns import cache
from controlplane.envoy.filters.chain import Chain, http_filter


def build(chain: Chain) -> Any | None:
    """The filter, where such a cluster may be met; it lets all other requests pass."""
    if not chain.dynamic:
        return None
    config = pb.http_dynamic_forward_proxy.FilterConfig(dns_cache_config=cache())
    return http_filter("envoy.filters.http.dynamic_forward_proxy", config)
