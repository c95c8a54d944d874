"""Counts of gRPC messages, for all services together: per-method statistics have no bound."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter


def build(_chain: Chain) -> Any:
    """Everywhere; it is idle for requests that are not gRPC."""
    config = pb.grpc_stats.FilterConfig(emit_filter_state=True)
    config.stats_for_all_methods.value = False
    return http_filter("envoy.filters.http.grpc_stats", config)
