"""Whether somebody has changed what this command wrote.

It would be written anew, and the change be lost without a word: so the file has a digest of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from controlplane.ctl.compose import emit
from controlplane.ctl.compose.document import Document, Value, entries, value
from controlplane.ctl.compose.emit import Output
from controlplane.ctl.compose.weave import adds, services

SEAL = "seal"


def seal(document: Document, added: Mapping[str, Output]) -> str:
    """A digest of the new services, and of what is new in those of the user."""
    said = emit.flow({"added": dict(sorted(added.items())), "within": _within(document, added)})
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def mark(sidecar: Output) -> str:
    """A digest of a sidecar, kept in the service that joins its network.

    Where one is recreated the other has to be, and docker-compose 1.29 does so only to what has changed.
    """
    return hashlib.sha256(emit.flow(sidecar).encode()).hexdigest()[:8]


def broken(document: Document, record: Value) -> bool:
    """Whether a meshed file says something else than what was written."""
    if not isinstance(record, dict) or SEAL not in record:
        return False
    listed = record.get("services")
    names = {str(one) for one in listed} if isinstance(listed, list) else set()
    places = services(document)
    added = {name: value(document, place.node) for name, place in places.items() if name in names}
    return seal(document, added) != record[SEAL]


def _within(document: Document, added: Mapping[str, Output]) -> dict[str, Output]:
    """What is new in the services of the user."""
    found: dict[str, Output] = {}
    for name, place in sorted(services(document).items()):
        if name in added or place.aliased:
            continue
        new = adds(document, place.node)
        if new:
            found[name] = {
                one.key: value(document, one.node) for one in entries(place.node) if one.key in new
            }
    return found
