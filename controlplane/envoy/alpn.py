"""ALPN between sidecars: how one tells another that it speaks mutual TLS, and what is inside.

Istio's names are used, so that its sidecars and these understand each other.  Istio's have a filter that
writes what a request turned out to be; here the cluster says it, which knows what its service speaks.
"""

from __future__ import annotations

from controlplane.mesh.protocols import AUTO, HTTP_LIKE

MUTUAL_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""Mutual TLS with HTTP inside."""
MUTUAL = ("istio", "istio-peer-exchange")
"""Mutual TLS with anything inside."""

SNIFFED_TCP = ("istio",)
"""What a connection offers that turned out to be no HTTP, in place of what its cluster would."""


def offered(protocol: str, *, http2: bool) -> tuple[str, ...]:
    """What a cluster for a service port of this protocol offers.

    The first name is what the other side chooses its filter chain by; it answers "h2" or nothing.
    """
    if http2:
        return ("istio-h2", "istio", "h2")
    if protocol in HTTP_LIKE or protocol == AUTO:
        return ("istio-http/1.1", "istio")
    return ("istio",)
