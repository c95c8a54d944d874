"""Faults made on purpose; the filter is empty, the routes say what to do."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter

NAME = "envoy.filters.http.fault"


def build(_chain: Chain) -> Any:
    """Everywhere, so that a fault comes and goes with a route and leaves the listener alone."""
    return http_filter(NAME, pb.fault.HTTPFault())
