"""gRPC-Web to gRPC, on ports that are declared so."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters.chain import Chain, http_filter


def build(chain: Chain) -> Any | None:
    """Where the port speaks gRPC-Web."""
    return http_filter("envoy.filters.http.grpc_web", pb.grpc_web.GrpcWeb()) if chain.grpc_web else None
