"""The change log of a leased map: which keys have changed since a revision."""

from __future__ import annotations

from typing import Any


class History:
    """Keys by the revision of their latest change, oldest first; forgets the oldest when it grows.

    `since(revision)` costs what has changed, not what exists.
    """

    __slots__ = ("_bound", "_latest", "floor")

    def __init__(self, floor: int, bound: int = 4096) -> None:
        self.floor = floor
        self._bound = bound
        self._latest: dict[Any, int] = {}

    def record(self, key: Any, revision: int) -> None:
        """Note that `key` changed, appeared or went at `revision`."""
        latest = self._latest
        latest.pop(key, None)
        latest[key] = revision
        if len(latest) > self._bound:
            for old in list(latest)[: self._bound // 2]:
                self.floor = max(self.floor, latest.pop(old))

    def since(self, revision: int) -> list[Any] | None:
        """Keys changed after `revision`, newest first; None when the log does not reach back so far."""
        if revision < self.floor:
            return None
        changed = []
        for key, at in reversed(self._latest.items()):
            if at <= revision:
                break
            changed.append(key)
        return changed
