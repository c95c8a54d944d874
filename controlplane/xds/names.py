"""Sets of names, one object for equal sets.

A thousand proxies of one scope subscribe to the same thousand clusters.  Their names arrive as a
thousand lists of new strings; kept as they come they would be the largest thing in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple
from weakref import WeakValueDictionary

_pool: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()


def intern_names(names: Iterable[str]) -> frozenset[str]:
    """The one set of these names."""
    made = frozenset(map(sys.intern, names))
    known = _pool.get(hash(made))
    if known is None:
        _pool[hash(made)] = made
        return made
    # Two different sets with one hash: the second simply is not shared.
    return known if known == made else made


NOBODY = intern_names(())


class Interest(NamedTuple):
    """What a subscription covers: everything, or these names (or both)."""

    wildcard: bool
    names: frozenset[str]

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names


NO_INTEREST = Interest(False, NOBODY)
