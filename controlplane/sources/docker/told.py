"""What was delivered last, and how what is so now differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from controlplane.sources.change import Change
from controlplane.sources.docker.objects import origin_of
from controlplane.sources.naming import Name, NoName, name_of


class Told:
    """Objects by name, as `objects.describe` makes them; `ids` numbers changes; `source` is their origins."""

    def __init__(self, ids: Iterator[int], source: str = "docker") -> None:
        self._ids = ids
        self._source = source
        self._objects: dict[Name, Mapping[str, Any]] = {}

    def difference(self, objects: Iterable[Mapping[str, Any]], at: float) -> list[Change]:
        """The changes that lead from what was told to these objects, sorted; `at` is monotonic seconds.

        Raises ValueError for an object without a name.
        """
        now: dict[Name, Mapping[str, Any]] = {}
        for raw in objects:
            name = name_of(raw)
            if isinstance(name, NoName):
                raise ValueError(f"{name.field}: {name.message}")
            now[name] = raw
        names = sorted(now.keys() | self._objects.keys())
        changed = [name for name in names if now.get(name) != self._objects.get(name)]
        changes = [self._change(name, now.get(name), self._objects.get(name), at) for name in changed]
        self._objects = now
        return changes

    def _change(
        self, name: Name, raw: Mapping[str, Any] | None, before: Mapping[str, Any] | None, at: float
    ) -> Change:
        known = before if raw is None else raw
        origin = None if known is None else origin_of(known, self._source)
        return Change(name.kind, name.key, raw, origin, next(self._ids), at, name.group)
