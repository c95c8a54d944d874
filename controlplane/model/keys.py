"""How an object is named, and the two shapes that every layer above speaks in: keys and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""A string map as sorted pairs: hashable, compared by content, deterministic when iterated."""


class Key(NamedTuple):
    """An object's name within its table; `namespace` is "" for objects of the whole cluster."""

    namespace: str
    name: str


class Ref(NamedTuple):
    """An object's name across all tables."""

    kind: str
    namespace: str
    name: str


def labels_of(mapping: Mapping[str, str]) -> Labels:
    """The labels of a plain mapping."""
    return tuple(sorted(mapping.items()))
