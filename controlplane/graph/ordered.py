"""Keeping keys sorted without sorting them all again for each one that comes or goes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from typing import Any

_FEW = 16
"""So many moves are cheaper to apply one by one; for more, everything is sorted anew."""


class Ordered:
    """The sorted tuple of a changing collection, made when it is asked for."""

    __slots__ = ("_keys", "_moved")

    def __init__(self) -> None:
        self._keys: tuple[Any, ...] | None = None
        self._moved: dict[Any, None] = {}

    def move(self, key: Any) -> None:
        """A key has come or gone."""
        if self._keys is None:
            return
        self._moved[key] = None
        if len(self._moved) > _FEW:
            self._keys = None
            self._moved.clear()

    def keys(self, present: Collection[Any]) -> tuple[Any, ...]:
        """The keys that are present, sorted."""
        keys = self._keys
        if keys is None:
            keys = self._keys = tuple(sorted(present))
        elif self._moved:
            for key in self._moved:
                at = bisect_left(keys, key)
                there = at < len(keys) and keys[at] == key
                if key in present:
                    keys = keys if there else (*keys[:at], key, *keys[at:])
                elif there:
                    keys = keys[:at] + keys[at + 1 :]
            self._keys = keys
            self._moved.clear()
        return keys
