"""What stands in front of gateways, and how far it is believed: ProxyConfig.gatewayTopology.

https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.reader import Reader

CLIENT_CERTIFICATES = ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY")
_MOST = 100


@dataclass(frozen=True, slots=True)
class GatewayTopology:
    """`num_trusted_proxies`: so many proxies before a gateway tell the truth in X-Forwarded-For.

    `forward_client_cert_details`, one of CLIENT_CERTIFICATES, is what becomes of X-Forwarded-Client-Cert.
    """

    num_trusted_proxies: int = 0
    forward_client_cert_details: str = "SANITIZE_SET"


def read_topology(r: Reader) -> GatewayTopology:
    """A Topology; the PROXY protocol is not spoken by gateways yet."""
    said = r.enum("forwardClientCertDetails", ("UNDEFINED", *CLIENT_CERTIFICATES), "UNDEFINED")
    r.unsupported("proxyProtocol")
    return GatewayTopology(
        num_trusted_proxies=r.integer("numTrustedProxies", 0, _MOST) or 0,
        forward_client_cert_details="SANITIZE_SET" if said == "UNDEFINED" else said,
    )
