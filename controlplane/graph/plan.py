"""What a keyed query returns: where its keys come from and which query makes each value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from controlplane.graph.keyed import Source
from controlplane.graph.memo import Query


class Form(Enum):
    """How the values of the children become the map."""

    EACH = "each"
    FLAT = "flat"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Plan:
    """Sources (the union of their keys), the child query and its leading arguments."""

    form: Form
    sources: tuple[Source, ...]
    child: Query[..., Any]
    args: tuple[Any, ...]


def each(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Map each key to `child(q, *args, key)`; None leaves the key out."""
    return Plan(Form.EACH, _sources(source), child, args)


def flat(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Join the pairs `(outkey, value)` that each `child(q, *args, key)` returns as a tuple.

    Where two members claim one outkey, the smallest member key wins, whatever came first.
    """
    return Plan(Form.FLAT, _sources(source), child, args)


def group(source: Source | tuple[Source, ...], child: Query[..., Any], /, *args: Any) -> Plan:
    """Collect the pairs `(outkey, item)` of all children: each outkey holds its distinct items."""
    return Plan(Form.GROUP, _sources(source), child, args)


def _sources(source: Source | tuple[Source, ...]) -> tuple[Source, ...]:
    return source if isinstance(source, tuple) else (source,)
