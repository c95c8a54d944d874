"""Hosts as users write them, and as the mesh knows them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container

DOMAIN = "cluster.local"
"""The DNS domain of Kubernetes services."""

_LONGEST = 255
_IPV4 = re.compile(
    r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)", re.ASCII
)
# Underscores are in no hostname and in many a name that resolves: Compose and Docker allow them.
_LABEL = r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_WILDCARD = re.compile(rf"\*(?:-{_LABEL})?(?:\.{_LABEL})*\.?")


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address (without a zone)."""
    if _IPV4.fullmatch(text):
        return True
    if ":" not in text or "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_prefix(text: str) -> bool:
    """Whether this is an address followed by a prefix length ("10.0.0.0/8")."""
    address, slash, length = text.partition("/")
    if not slash or not is_address(address) or not (length.isascii() and length.isdigit()) or len(length) > 3:
        return False
    return int(length) <= (128 if ":" in address else 32)


def canonical_range(text: str) -> str:
    """The one spelling of an address or a prefix: Envoy refuses a listener where one occurs in two.

    A prefix loses the bits behind it; one of a single address is that address.
    """
    if not (is_address(text) or is_prefix(text)):
        return text
    found = ipaddress.ip_network(text, strict=False)
    return str(found) if found.prefixlen < found.max_prefixlen else str(found.network_address)


def host_fault(host: str, *, wildcard: bool = True) -> str | None:
    """Why this cannot be a DNS name (or a name whose first label is a wildcard), None where it can."""
    if len(host) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if host.startswith("*"):
        if not wildcard:
            return "is a wildcard"
        return None if _WILDCARD.fullmatch(host) else "is not a wildcard like *.example.com"
    if not _HOST.fullmatch(host):
        return "is not a DNS name"
    last = host.rstrip(".").rpartition(".")[2]
    # Most of all a mistyped address, and never a name that resolves.
    return "ends in a number, which no DNS name does" if last.isdigit() and "." in host else None


def covers(pattern: str, host: str) -> bool:
    """Whether each name that `host` stands for is matched by `pattern`; both may be wildcards."""
    if pattern == host or pattern == "*":
        return True
    return pattern.startswith("*") and len(host) >= len(pattern) and host.endswith(pattern[1:])


def covering(patterns: Container[str], host: str) -> str | None:
    """One of these hosts that covers another; None where none does.

    Each suffix is looked up, so that it costs the same however many patterns there are.
    """
    if host in patterns:
        return host
    wildcards = (f"*{host[at:]}" for at in range(1, len(host) + 1))
    return next((pattern for pattern in wildcards if pattern in patterns), None)


def canonical(host: str) -> str:
    """The one spelling of a host: DNS knows no case, and a final dot adds nothing to a full name.

    Envoy knows no case either: it refuses all routes of a port where a name occurs in two spellings.
    """
    return host.lower().removesuffix(".")


def fqdn(host: str, namespace: str, domain: str = DOMAIN) -> str:
    """A host as the mesh knows it: a name without a dot is a service of the object's own namespace.

    Wildcards, addresses and names with dots are not completed, as in Istio (nor is a
    `name.namespace`).
    """
    if not host or "." in host or "*" in host or ":" in host:
        return canonical(host)
    return f"{host.lower()}.{namespace}.svc.{domain}"
