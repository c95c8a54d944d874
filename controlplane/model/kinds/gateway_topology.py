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
    `proxy_protocol`: every connection begins with a header of the PROXY protocol, which says who calls.
    """

    num_trusted_proxies: int = 0
    forward_client_cert_details: str = "SANITIZE_SET"
    proxy_protocol: bool = False


def read_topology(r: Reader) -> GatewayTopology:
    """A Topology."""
    said = r.enum("forwardClientCertDetails", ("UNDEFINED", *CLIENT_CERTIFICATES), "UNDEFINED")
    return GatewayTopology(
        num_trusted_proxies=r.integer("numTrustedProxies", 0, _MOST) or 0,
        forward_client_cert_details="SANITIZE_SET" if said == "UNDEFINED" else said,
        # A message without fields: that it is there is all it says.
        proxy_protocol=r.message("proxyProtocol", lambda _: True) or False,
    )
