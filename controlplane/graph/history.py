"""The change log of a leased map: which keys have changed since a revision."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any


class History:
    """Keys by the revision of their latest change, oldest first; forgets the oldest when it grows.

    `since(revision)` costs what has changed, not what exists.  `floor` is the oldest revision from
    which it can tell.
    """

    __slots__ = ("_bound", "_latest", "floor")

    def __init__(self, floor: int, bound: int = 4096) -> None:
        self.floor = floor
        self._bound = bound
        self._latest: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def record(self, keys: Iterable[Any], revision: int) -> None:
        """Note that these keys changed, appeared or went at `revision`."""
        if revision <= self.floor:
            return  # nobody can ask what changed up to the floor
        latest = self._latest
        for key in keys:
            latest.pop(key, None)
            latest[key] = revision
        if len(latest) > self._bound:
            self._forget()

    def _forget(self) -> None:
        """Raise the floor, so that at most half of the bound is left."""
        latest = self._latest
        surplus = len(latest) - self._bound // 2
        self.floor = next(islice(latest.values(), surplus - 1, None))
        self._latest = {key: at for key, at in latest.items() if at > self.floor}

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
