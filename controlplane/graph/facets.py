"""Facets: what a reader of a keyed map depends on: one entry, the membership, all contents, a group.

A facet is a node of its own, so that a reader hears only of what it has asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError
from controlplane.graph.failure import Failure
from controlplane.graph.node import IDLE, Form, Node, show
from controlplane.graph.ordered import Ordered

if TYPE_CHECKING:
    from collections.abc import Collection

    from controlplane.graph.engine import Graph
    from controlplane.graph.map import KeyedMap


class Facet(Node):
    """A facet of a keyed map; it changes when that facet does, or when the map fails as a whole."""

    __slots__ = ("owner",)

    def __init__(self, owner: KeyedMap) -> None:
        super().__init__()
        self.owner = owner
        self.rank = owner.rank
        self.changed = owner.changed

    @property
    def busy(self) -> bool:
        return self.owner.phase != IDLE

    @property
    def failure(self) -> Failure | None:
        """Why the facet cannot be read: the map failed as a whole, or a circle runs through it."""
        return self.owner.failure or self.owner.circle

    def refresh(self, graph: Graph) -> None:
        if self.owner.dirty:
            graph.agenda.require(self.owner)


class Entry(Facet):
    """The value under one key; None while the key is absent."""

    __slots__ = ("key",)

    def __init__(self, owner: KeyedMap, key: Any) -> None:
        super().__init__(owner)
        self.key = key

    @property
    def failure(self) -> Failure | None:
        owner = self.owner
        if owner.failure is None and owner.form is Form.EACH:
            value = owner.shape.out.get(self.key)
            return value if isinstance(value, Failure) else None
        return owner.failure or owner.circle

    def free(self, graph: Graph) -> None:
        self.owner.entries.pop(self.key, None)
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"{self.owner.describe()}[{show((self.key,))}]"


class Membership(Facet):
    """The set of keys."""

    __slots__ = ()

    def container(self) -> Collection[Any]:
        """The keys as they are now, in no order."""
        return self.owner.shape.out

    def keys(self) -> tuple[Any, ...]:
        """The keys, sorted."""
        return self.owner.order.keys(self.owner.shape.out)

    def free(self, graph: Graph) -> None:
        self.owner.membership = None
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"keys of {self.owner.describe()}"


class Contents(Facet):
    """All keys and values."""

    __slots__ = ()

    def values(self) -> list[Any]:
        """The values in key order, failures left out."""
        out = self.owner.shape.out
        values = map(out.get, self.owner.order.keys(out))
        return [value for value in values if value.__class__ is not Failure]

    def free(self, graph: Graph) -> None:
        self.owner.contents = None
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"contents of {self.owner.describe()}"


class Part(Facet):
    """The distinct items of one group, counted by how many members give each.

    Unlike the other facets it exists unread too; it counts as a reader of its map while it is read.
    """

    __slots__ = ("_moved", "_order", "counts", "key")

    def __init__(self, owner: KeyedMap, key: Any) -> None:
        super().__init__(owner)
        self.key = key
        self.counts: dict[Any, int] = {}
        self._order = Ordered()
        # Items counted up or down since the map was last published -> whether they were there then.
        self._moved: dict[Any, bool] = {}

    @property
    def failure(self) -> Failure | None:
        owner = self.owner
        if owner.failure is None and owner.form is not None and not owner.shape.grouped:
            error = GraphError(f"{owner.describe()} has no parts: it is not made with group()")
            return Failure(owner.describe(), error)
        return owner.failure or owner.circle

    def __contains__(self, item: object) -> bool:
        return item in self.counts

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def container(self) -> Collection[Any]:
        """The items as they are now, in no order."""
        return self.counts

    def keys(self) -> tuple[Any, ...]:
        """The items, sorted."""
        return self._order.keys(self.counts)

    def count(self, item: Any, by: int) -> None:
        """Count an item up or down."""
        before = self.counts.get(item, 0)
        after = before + by
        if after:
            self.counts[item] = after
        else:
            del self.counts[item]
        if not (before and after):
            self._moved.setdefault(item, bool(before))
            self._order.move(item)

    def publish(self, graph: Graph) -> bool:
        """Tell the readers which items have come or gone; returns whether any has."""
        moved, self._moved = self._moved, {}
        changed = False
        for item, before in moved.items():
            if before != (item in self.counts):
                changed = True
                graph.touch(self, item)
        return changed

    def free(self, graph: Graph) -> None:
        if not self.counts:
            self.owner.parts.pop(self.key, None)
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"{self.owner.describe()}[{show((self.key,))}]"
