"""What the mesh sees of what was written: namespaces that discoverySelectors leave out do not exist.

A cut before the graph, so that no query asks whether it may know of an object: the rows of a hidden
namespace are kept here, and are no rows of the graph.  When a selector or a namespace's labels change, whole
namespaces go in or out, in the same commit.  Without selectors, everything passes.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ (discoverySelectors)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from controlplane.graph import Table
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import KINDS, mesh_configs, namespaces
from controlplane.model.kinds.mesh_config import LabelSelector
from controlplane.model.kinds.refused import refused_objects
from controlplane.model.selectors import is_discovered

Row: TypeAlias = tuple[Table, Key, Any]
"""A new value of a row, None to remove it."""
_NAMESPACED = (*(kind.table for kind in KINDS if kind.namespaced), refused_objects)


class Sight:
    """Stands before one graph; `rows` are the rows of a table that the graph has."""

    def __init__(self, rows: Callable[[Table], Mapping[Any, Any]]) -> None:
        self._rows = rows
        self._selectors: tuple[LabelSelector, ...] = ()
        self._labels: dict[str, Labels] = {}
        # The rows of hidden namespaces: where all objects of a namespace are, or none.
        self._hidden: dict[str, dict[tuple[Table, Key], Any]] = {}

    def seen(self, writes: Iterable[Row]) -> list[Row]:
        """What of these writes the graph should have, and what comes and goes with them."""
        taken = list(writes)
        found = self._look_again(taken)
        for table, key, value in taken:
            if table not in _NAMESPACED or self._sees(key.namespace):
                found[table, key] = value
            else:
                self._hide(table, key, value)
        return [(table, key, value) for (table, key), value in found.items()]

    def _sees(self, namespace: str) -> bool:
        if not self._selectors:
            return True
        labels = self._labels.get(namespace, ())
        return is_discovered(namespace, labels, self._selectors)

    def _hide(self, table: Table, key: Key, value: Any) -> None:
        rows = self._hidden.setdefault(key.namespace, {})
        if value is None:
            rows.pop((table, key), None)
        else:
            rows[table, key] = value

    def _look_again(self, writes: list[Row]) -> dict[tuple[Table, Key], Any]:
        """Take in selectors and labels; the rows that come and go with whole namespaces."""
        if not self._learn(writes):
            return {}
        found: dict[tuple[Table, Key], Any] = {}
        for namespace in sorted(name for name in self._hidden if self._sees(name)):
            found.update(self._hidden.pop(namespace))
        if self._selectors:
            for table in _NAMESPACED:
                # A copy, because the graph's own changes when this is committed.
                gone = [
                    (key, value) for key, value in self._rows(table).items() if not self._sees(key.namespace)
                ]
                for key, value in gone:
                    self._hide(table, key, value)
                    found[table, key] = None
        return found

    def _learn(self, writes: list[Row]) -> bool:
        """Whether something was said that decides which namespaces are seen."""
        before, labels = self._selectors, dict(self._labels)
        for table, key, value in writes:
            if table is mesh_configs:
                self._selectors = () if value is None else value.discovery_selectors
            elif table is namespaces and value is None:
                self._labels.pop(key.name, None)
            elif table is namespaces:
                self._labels[key.name] = value.meta.labels
        return self._selectors != before or (bool(self._selectors) and self._labels != labels)
