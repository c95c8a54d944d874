"""The names that Envoy resources carry, as Istio's users know them from `proxy-config` and statistics."""

from __future__ import annotations

BLACK_HOLE = "BlackHoleCluster"
PASSTHROUGH = "PassthroughCluster"
DYNAMIC = "AllowAnyDynamicDNSCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
XDS_CLUSTER = "xds-grpc"
PROMETHEUS_CLUSTER = "prometheus_stats"

VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
DNS = "dns"

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
HEALTH_PORT = 15021
DNS_PORT = 15053
PROMETHEUS_PORT = 15090
ADMIN_PORT = 15000


def outbound_cluster(port: int, subset: str, host: str) -> str:
    """ "outbound|9080|v1|reviews.default.svc.cluster.local"; `subset` is "" for the whole service."""
    return f"outbound|{port}|{subset}|{host}"


def sni_cluster(port: int, subset: str, host: str) -> str:
    """ "outbound_.9080_.v1_.reviews…": what sidecars ask for, and a gateway's cluster of that name."""
    return f"outbound_.{port}_.{subset}_.{host}"


def key_cluster(port: int, host: str) -> str:
    """ "jwks|443||accounts.example.com": where a proxy fetches an issuer's keys by itself."""
    return f"jwks|{port}||{host}"


def inbound_cluster(target_port: int) -> str:
    """ "inbound|9080||": the cluster and the route configuration of a workload's own port."""
    return f"inbound|{target_port}||"
