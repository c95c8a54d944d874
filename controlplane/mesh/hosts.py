"""How host names and host patterns relate: the rules behind every "which object speaks for this host".

A pattern is a name, `*`, or `*` before a suffix (`*.example.com`).  Services may have patterns as
names too (a ServiceEntry for `*.example.com`), hence three relations and not one.
"""

from __future__ import annotations

from controlplane.model.hosts import DOMAIN
from controlplane.model.hosts import covers as covers
from controlplane.model.keys import Key


def overlap(one: str, other: str) -> bool:
    """Whether one of the two covers the other."""
    return covers(one, other) or covers(other, one)


def is_partial(pattern: str) -> bool:
    """Whether the wildcard stands for a part of a label (`*-v2.example.com`)."""
    return pattern.startswith("*") and pattern != "*" and not pattern.startswith("*.")


def patterns_of(host: str) -> tuple[str, ...]:
    """The host itself and the whole-label patterns that cover it, the most specific first."""
    name = host.removeprefix("*").removeprefix(".")
    labels = name.split(".")
    # A wildcard host is its own most specific pattern: "*.a.b" is covered by "*.a.b", "*.b" and "*".
    first = 0 if host.startswith("*.") else 1
    tails = (".".join(labels[start:]) for start in range(first, len(labels)))
    wild = tuple(f"*.{tail}" for tail in tails if tail)
    return tuple(dict.fromkeys((host, *wild, "*")))


def specificity(pattern: str) -> tuple[bool, int, str]:
    """A sort key: exact names first, then the longer wildcard."""
    return (pattern.startswith("*"), -len(pattern), pattern)


_SERVICE_SUFFIX = f".svc.{DOMAIN}"


def kubernetes_key(host: str) -> Key | None:
    """The Kubernetes Service that `name.namespace.svc.cluster.local` names; None for any other host."""
    if not host.endswith(_SERVICE_SUFFIX):
        return None
    name, dot, namespace = host.removesuffix(_SERVICE_SUFFIX).partition(".")
    return Key(namespace, name) if dot and namespace and "." not in namespace else None


def kubernetes_host(key: Key) -> str:
    """The host of a Kubernetes Service."""
    return f"{key.name}.{key.namespace}{_SERVICE_SUFFIX}"
