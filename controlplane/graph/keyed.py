"""Keyed maps as they are declared: aggregates that are patched key by key.

A `@keyed` query never iterates over what it aggregates.  It returns a `Plan`: where the keys come
from, and which query makes each value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeAlias

from controlplane.graph.bucket import Bucket
from controlplane.graph.facets import Membership, Part
from controlplane.graph.memo import P, Query
from controlplane.graph.node import Form

if TYPE_CHECKING:
    from controlplane.graph.q import Q

Source: TypeAlias = Bucket | Membership | Part
"""A collection of keys that can be read, or be where a keyed map's members come from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sources (the union of their keys), the child query and its leading arguments."""

    form: Form
    sources: tuple[Source, ...]
    child: Query[..., Any]
    args: tuple[Any, ...]


class Keyed(Generic[P]):
    """A declared keyed map; read with `q.at`, `q.map`, `q.part`, `q.values` or a lease."""

    def __init__(self, fn: Callable[Concatenate[Q, P], Plan]) -> None:
        self.plan: Query[..., Plan] = Query(fn)
        self.name = self.plan.name
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"keyed {self.name}"


def keyed(fn: Callable[Concatenate[Q, P], Plan]) -> Keyed[P]:
    """Declare a keyed map: `def m(q, *args) -> Plan`."""
    return Keyed(fn)


def each(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Map each key to `child(q, *args, key)`; None leaves the key out."""
    return Plan(Form.EACH, _sources(source), child, args)


def flat(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Join the pairs `(outkey, value)` that each `child(q, *args, key)` returns as a tuple.

    Where two members claim one outkey, the smallest member key wins, whatever came first.  A pair
    whose value is None claims nothing.
    """
    return Plan(Form.FLAT, _sources(source), child, args)


def group(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Collect the pairs `(outkey, item)` of all children: each outkey holds its distinct items."""
    return Plan(Form.GROUP, _sources(source), child, args)


def _sources(source: Source | tuple[Source, ...]) -> tuple[Source, ...]:
    return source if isinstance(source, tuple) else (source,)
