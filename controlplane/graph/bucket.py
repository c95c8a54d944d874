"""Buckets: sets of row keys that queries depend on as a whole.

There are many, so each describes itself when it is asked to, and keeps no text.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Any

from controlplane.graph.node import Node, show
from controlplane.graph.ordered import Ordered

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

_NOTHING: frozenset[Any] = frozenset()


class Bucket(Node):
    """A set of row keys as a dependency; here all rows of a table.

    It changes when its membership changes, never when a member's content does.  `home` is where the
    graph finds it again under `where`; `table` names whose keys they are, "" for a fixed collection.
    """

    __slots__ = ("_order", "home", "members", "table", "where")

    failure = None

    def __init__(
        self, home: dict[Any, Bucket], where: Hashable, members: Collection[Any], table: str = ""
    ) -> None:
        super().__init__()
        self.home = home
        self.where = where
        # Most selections select nothing, and an empty set takes more room than all else here.
        self.members: set[Any] | frozenset[Any] = set(members) if members else _NOTHING
        self.table = table
        self._order = Ordered()

    def container(self) -> Collection[Any]:
        """The members as they are now, in no order."""
        return self.members

    def keys(self) -> tuple[Any, ...]:
        """The members, sorted."""
        return self._order.keys(self.members)

    def move(self, graph: Graph, key: Hashable, present: bool) -> None:
        """Add or remove one member and tell the readers which one it was."""
        if isinstance(self.members, frozenset):
            self.members = set()
        if present:
            self.members.add(key)
        else:
            self.members.discard(key)
        self._order.move(key)
        graph.touch(self, key)

    def free(self, graph: Graph) -> None:
        self.home.pop(self.where, None)

    def describe(self) -> str:
        return f"all {self.table}"


class Indexed(Bucket):
    """The rows under one key of an index: `where` are both."""

    __slots__ = ()

    where: tuple[str, Hashable]

    def describe(self) -> str:
        index, key = self.where
        return f"{self.table} by {index} = {show((key,))}"


class Fixed(Bucket):
    """Just the keys that it is found under."""

    __slots__ = ()

    where: tuple[Any, ...]

    def describe(self) -> str:
        return f"fixed {show(self.where)}"
