"""What a filter may ask about the chain that it stands in."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from controlplane.envoy import pb


class Chain(NamedTuple):
    """One HTTP connection manager: its side of the sidecar, whether gRPC-Web is spoken there, and whether
    its virtual hosts come on demand."""

    side: Literal["outbound", "inbound"]
    grpc_web: bool = False
    on_demand: bool = False


def http_filter(name: str, config: Any) -> Any:
    """An HTTP filter with its configuration."""
    return pb.hcm.HttpFilter(name=name, typed_config=pb.pack(config))
