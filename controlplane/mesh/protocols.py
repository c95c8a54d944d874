"""Which protocol a port speaks, from the three ways in which users say so.

https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

from controlplane.model.kinds.service import ServicePort

AUTO = "AUTO"
"""Not said: the proxy looks at the first bytes."""

HTTP_LIKE = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-Web"})
"""Protocols that an HTTP connection manager serves."""

HTTP2_LIKE = frozenset({"HTTP2", "GRPC", "GRPC-Web"})
"""Protocols that are HTTP/2 on the wire."""

_NAMES = {
    "http": "HTTP",
    "http_proxy": "HTTP",
    "http2": "HTTP2",
    "https": "HTTPS",
    "grpc": "GRPC",
    "grpc-web": "GRPC-Web",
    "tcp": "TCP",
    "tls": "TLS",
    "mongo": "MONGO",
    "redis": "REDIS",
    "mysql": "MYSQL",
    "udp": None,
}
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": "HTTP2",
    "kubernetes.io/ws": "HTTP",
    "kubernetes.io/wss": "HTTPS",
}
# Here the server speaks first, so that waiting for the client's first bytes would wait for ever.
_SERVER_FIRST = frozenset({25, 53, 3306, 27017})


def declared_protocol(text: str) -> str | None:
    """The protocol that this word means; AUTO when unknown or empty, None for UDP."""
    return _NAMES.get(text.lower(), AUTO)


def kubernetes_protocol(port: ServicePort) -> str | None:
    """The protocol of a Kubernetes Service's port; None for one that Envoy's TCP listeners cannot serve."""
    if port.protocol not in ("TCP", ""):
        return None
    said = port.name if port.app_protocol is None else port.app_protocol
    if port.app_protocol is not None and said in _APP_PROTOCOLS:
        return _APP_PROTOCOLS[said]
    if said.lower().startswith("grpc-web"):
        return "GRPC-Web"
    protocol = declared_protocol(said.partition("-")[0])
    if protocol == AUTO and port.port in _SERVER_FIRST:
        return "TCP"
    return protocol
