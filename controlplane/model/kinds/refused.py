"""Objects that are there and were never valid: who misses one is told to mend it, not to create it.

Nothing that is served depends on them; only checks ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from controlplane.graph import Table
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key

_HOSTS = {"DestinationRule": "host", "ServiceEntry": "hosts"}
_NAMED = frozenset({*_HOSTS, "Gateway", "Secret", "Service", "VirtualService"})


class Refused(NamedTuple):
    """What is known of such an object: the hosts that it is about, as full names."""

    kind: str
    hosts: tuple[str, ...]


def refused_key(kind: str, key: Key) -> Key:
    """The row of an object of this kind; one table holds all kinds."""
    return Key(key.namespace, f"{kind}/{key.name}")


def refused_from(kind: str, key: Key, raw: object) -> Refused | None:
    """What to note of a refused object, whatever is in it; None for kinds that no object names."""
    if kind not in _NAMED:
        return None
    if kind == "Service":
        return Refused(kind, (fqdn(key.name, key.namespace),))
    spec = raw.get("spec") if isinstance(raw, Mapping) else None
    said: Any = spec.get(_HOSTS.get(kind, "")) if isinstance(spec, Mapping) else None
    texts = said if isinstance(said, list) else [said]
    hosts = {text for text in texts if isinstance(text, str) and text}
    # The hosts of a ServiceEntry are full names already.
    full = {fqdn(host, key.namespace) for host in hosts} if kind == "DestinationRule" else hosts
    return Refused(kind, tuple(sorted(full)))


refused_objects = Table(
    "refused_objects", indexes={"host": lambda _, value: ((value.kind, host) for host in value.hosts)}
)
