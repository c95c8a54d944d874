"""Cross-origin requests; the filter is empty, the routes say what is allowed."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter

NAME = "envoy.filters.http.cors"


def build(_chain: Chain) -> Any:
    """Everywhere, so that a policy comes and goes with a route and leaves the listener alone."""
    return http_filter(NAME, pb.cors.Cors())
