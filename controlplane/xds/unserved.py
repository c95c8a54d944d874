"""Secrets that are asked for in vain.

They are never answered, not even with a no; so the log is where somebody learns of it, be it of a name
that is misspelled, of a proxy that cannot be told secrets on its line, or of an attempt at what is another's.
"""

from __future__ import annotations

import logging

from controlplane.envoy.secrets import DEFAULT, ROOT_CA
from controlplane.envoy.types import TYPES
from controlplane.model.describe import shorten
from controlplane.xds.names import NOBODY
from controlplane.xds.session import Session

_log = logging.getLogger(__name__)

_MOST = 10
"""Names that are told of one stream."""
_OWN = frozenset((DEFAULT, ROOT_CA))
_AWAITED = tuple(spec.url for spec in TYPES if spec.awaited)


class Unserved:
    """Of one stream: what it asks for and does not get, each name told once."""

    __slots__ = ("_connection", "_missed", "_told")

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._missed = NOBODY
        self._told: set[str] = set()

    def look(self, session: Session, *, last: bool = False) -> None:
        """Tell what was missing the last time and still is; at the end, what will never have come."""
        missing = _missing(session)
        if not missing and not self._missed:
            return  # as nearly always: every stream is looked at every second
        # A certificate takes a moment to issue, and who leaves meanwhile has asked for nothing odd.
        known = missing - _OWN if last else missing & self._missed
        self._missed = missing
        new = sorted(known - self._told)[: _MOST - len(self._told)]
        if new:
            self._told.update(new)
            _log.warning(
                "a proxy asks for secrets that it is not given",
                extra={"connection": self._connection, "names": ", ".join(map(shorten, new))},
            )


def _missing(session: Session) -> frozenset[str]:
    found = [
        name
        for url in _AWAITED
        if (sub := session.subscriptions.get(url)) is not None
        for name in sub.interest.names
        if sub.ledger.get(name) is None
    ]
    return frozenset(found) if found else NOBODY
