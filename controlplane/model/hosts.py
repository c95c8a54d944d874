"""Hosts as users write them, and as the mesh knows them."""

from __future__ import annotations

import ipaddress

DOMAIN = "cluster.local"
"""The DNS domain of Kubernetes services."""


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    if not text or not (text[0] in "0123456789abcdefABCDEF:"):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def fqdn(host: str, namespace: str, domain: str = DOMAIN) -> str:
    """A host as the mesh knows it: a name without a dot is a service of the object's own namespace.

    Wildcards, addresses and names with dots stay as they are, as in Istio (a `name.namespace` is not
    completed either).
    """
    if not host or "." in host or "*" in host or ":" in host:
        return host
    return f"{host}.{namespace}.svc.{domain}"
