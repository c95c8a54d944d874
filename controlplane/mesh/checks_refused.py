"""What checks say of an object that is missed: that there is none, or that it was refused."""

from __future__ import annotations

from controlplane.graph import Q
from controlplane.mesh.checks_finding import Finding
from controlplane.model.keys import Key
from controlplane.model.kinds.refused import refused_key, refused_objects

_MEND = "mend it: its own error says how"


def or_refused(q: Q, finding: Finding, kind: str, key: Key) -> Finding:
    """The finding that an object does not exist; where it was refused, that instead."""
    if q.get(refused_objects, refused_key(kind, key)) is None:
        return finding
    return _refused(finding, kind, key.namespace, key.name)


def or_refused_for(q: Q, finding: Finding, host: str, *kinds: str) -> Finding:
    """The finding that no object of these kinds is for a host; where one was refused, that instead."""
    for kind in kinds:
        for row in sorted(q.index(refused_objects, "host", (kind, host))):
            return _refused(finding, kind, row.namespace, row.name.removeprefix(f"{kind}/"))
    return finding


def _refused(finding: Finding, kind: str, namespace: str, name: str) -> Finding:
    message = f"{kind} {namespace}/{name} was refused, and no version of it is in use"
    return finding._replace(message=message, remedy=_MEND)
