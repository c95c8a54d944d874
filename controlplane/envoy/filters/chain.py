"""What a filter may ask about the chain that it stands in."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from controlplane.envoy import pb
from controlplane.mesh.authorization import ExtAuthz
from controlplane.mesh.request_authentication import JwtRules
from controlplane.model.kinds.gateway_topology import GatewayTopology
from controlplane.model.kinds.proxy_manners import Manners


class Chain(NamedTuple):
    """One HTTP connection manager.

    `side` of the proxy it is on, whether gRPC-Web is spoken there, and whether its virtual hosts come on
    demand.  `guarded`: requests are authorized, by what their route configuration says; `providers` are
    asked before, `jwt` says how tokens are checked, and `paths` what is made of a path before all that.
    `topology`: how far a gateway believes what stands in front of it.  `http10`: HTTP/1.0 is understood;
    `idle_timeout` is in nanoseconds, None = Envoy's; `proxy`: requests name where they want to go.
    `dynamic`: some may lead to hosts that are resolved when they are asked for.  `manners`: headers that the
    proxy writes, and how it treats connections.
    """

    side: Literal["outbound", "inbound", "gateway"]
    grpc_web: bool = False
    on_demand: bool = False
    guarded: bool = False
    jwt: JwtRules = JwtRules()
    providers: tuple[ExtAuthz, ...] = ()
    paths: str = "BASE"
    topology: GatewayTopology = GatewayTopology()
    http10: bool = False
    idle_timeout: int | None = None
    proxy: bool = False
    dynamic: bool = False
    manners: Manners = Manners()


def http_filter(name: str, config: Any) -> Any:
    """An HTTP filter with its configuration."""
    return pb.hcm.HttpFilter(name=name, typed_config=pb.pack(config))
