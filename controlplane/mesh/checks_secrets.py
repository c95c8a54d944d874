"""Whether there are the Secrets that Gateways and DestinationRules name."""

from __future__ import annotations

from controlplane.graph import Plan, Q, Query, group, keyed, query
from controlplane.model.keys import Key
from controlplane.model.kinds import secrets
from controlplane.model.kinds.secret import Secret

_AUTHORITIES = "-cacert"


def has_pair(q: Q, namespace: str, name: str) -> bool:
    """Whether there is such a Secret with a certificate and its key; in any namespace for ""."""
    return _some(q, _has_pair, namespace, name)


def has_authorities(q: Q, namespace: str, name: str) -> bool:
    """Whether there is such a Secret with authorities, or the one of the certificate has them."""
    names = (name, name.removesuffix(_AUTHORITIES))
    return any(_some(q, _certifies, namespace, one) for one in names)


def namespaces_with(q: Q, name: str) -> tuple[str, ...]:
    """The namespaces that have a Secret of this name, sorted."""
    return tuple(sorted(key.namespace for key in q.keys(q.part(_by_name, (), name))))


def _some(q: Q, fits: Query[[Key], bool], namespace: str, name: str) -> bool:
    if namespace:
        return q(fits, Key(namespace, name))
    return any(q(fits, key) for key in q.keys(q.part(_by_name, (), name)))


@keyed
def _by_name(q: Q) -> Plan:
    """The name of a Secret -> those of that name, in whatever namespaces."""
    return group(q.members(secrets), _named)


@query
def _named(q: Q, key: Key) -> tuple[tuple[str, Key], ...]:
    del q
    return ((key.name, key),)


@query
def _has_pair(q: Q, key: Key) -> bool:
    found: Secret | None = q.get(secrets, key)
    return found is not None and bool(found.key)


@query
def _certifies(q: Q, key: Key) -> bool:
    found: Secret | None = q.get(secrets, key)
    return found is not None and bool(found.authorities)
