"""Virtual hosts on demand: holds a request for a host that is not there and asks the control plane."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter


def build(chain: Chain) -> Any | None:
    """Where the virtual hosts are not all there from the start."""
    return http_filter("envoy.filters.http.on_demand", pb.on_demand.OnDemand()) if chain.on_demand else None
