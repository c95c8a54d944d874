"""What a broken piece of a file still stands for.

A document that cannot be read names no object, so the objects that it held are found by what is
missing: those that were in the file before, are in none of its good documents now, and either are
named in the broken text or stood in the same gap between good neighbours.  In doubt an object is
kept: a typing error must not take a route away.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from controlplane.sources.directory.documents import Broken, Object, Unit

# Values of these fields in YAML or JSON, however broken it is around them.
_KIND = re.compile(r"""\bkind["']?[ \t]*:[ \t]*["']?([-.\w]+)""")
_NAME = re.compile(r"""\bname["']?[ \t]*:[ \t]*["']?([-.\w]+)""")


class Standing(NamedTuple):
    """What is in force for one file: its objects in order, and for each broken piece what it holds."""

    objects: tuple[Object, ...]
    broken: tuple[tuple[Broken, tuple[Object, ...]], ...]


def stand(before: Sequence[Object], units: Sequence[Unit]) -> Standing:
    """Units as read now, with broken ones replaced by what stood there before."""
    if not any(isinstance(unit, Broken) for unit in units):
        return Standing(tuple(unit for unit in units if isinstance(unit, Object)), ())
    held = _held(before, units)
    objects: list[Object] = []
    broken: list[tuple[Broken, tuple[Object, ...]]] = []
    for position, unit in enumerate(units):
        if isinstance(unit, Object):
            objects.append(unit)
        else:
            kept = tuple(replace(one, raw=None) for one in held.get(position, ()))
            objects.extend(kept)
            broken.append((unit, kept))
    return Standing(tuple(objects), tuple(broken))


def _held(before: Sequence[Object], units: Sequence[Unit]) -> dict[int, list[Object]]:
    """Position of a broken unit -> the objects that it keeps in force."""
    anchors = _anchors(before, units)
    low, high = _gaps(anchors, len(units))
    missing = [index for index, anchor in enumerate(anchors) if anchor is None]
    named: dict[int, set[int]] = {}
    for position, unit in enumerate(units):
        if isinstance(unit, Broken):
            kinds, names = set(_KIND.findall(unit.text)), set(_NAME.findall(unit.text))
            named[position] = {
                index
                for index in missing
                if before[index].name.kind in kinds and before[index].name.key.name in names
            }
    # A broken text that names other missing objects says nothing about the rest.
    silent = [position for position, who in named.items() if not who]
    held: dict[int, list[Object]] = {}
    for index in missing:
        naming = [position for position, who in named.items() if index in who]
        inside = [position for position in naming if low[index] < position < high[index]]
        nearby = [position for position in silent if low[index] < position < high[index]]
        choice = inside or naming or nearby
        if choice:
            held.setdefault(choice[0], []).append(before[index])
    return held


def _anchors(before: Sequence[Object], units: Sequence[Unit]) -> list[int | None]:
    """For each old object the position of the good unit with the same name (the n-th with the n-th)."""
    positions: dict[object, deque[int]] = {}
    for position, unit in enumerate(units):
        if isinstance(unit, Object):
            positions.setdefault(unit.name, deque()).append(position)
    anchors: list[int | None] = []
    for old in before:
        found = positions.get(old.name)
        anchors.append(found.popleft() if found else None)
    return anchors


def _gaps(anchors: Sequence[int | None], end: int) -> tuple[list[int], list[int]]:
    """For each old object the positions between which it would be now, judged by its nearest neighbours."""
    low: list[int] = []
    high: list[int] = []
    nearest = -1
    for anchor in anchors:
        nearest = nearest if anchor is None else anchor
        low.append(nearest)
    nearest = end
    for anchor in reversed(anchors):
        nearest = nearest if anchor is None else anchor
        high.append(nearest)
    high.reverse()
    for index, (below, above) in enumerate(zip(low, high, strict=True)):
        if below > above:
            # The neighbours changed places: anywhere.
            low[index], high[index] = -1, end
    return low, high
