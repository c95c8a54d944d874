"""What the graph is made of: nodes, their edges and the two counters that order everything.

A *revision* counts commits; users see it.  A *tick* counts moments at which something changed; it
answers "did this dependency change after I last looked?" without comparing values again.

A node's *rank* is one more than the highest rank of the keyed maps below it.  Maps are settled in
rank order, so whatever a map reads is final when it is read (no glitches).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

# How far a memo's value can be trusted.  Plain numbers: an enum's members are slow to look up.
NEW: Final = 0
CLEAN: Final = 1
DIRTY: Final = 2
RUNNING: Final = 3

# What a keyed map is doing: while it is being filled, single entries can be read.
IDLE: Final = 0
PLANNING: Final = 1
FILLING: Final = 2

FREED: Final = -1
"""The rank of a collection that was swept."""


class Form(Enum):
    """How the values of the children become the map."""

    EACH = "each"
    FLAT = "flat"
    GROUP = "group"


class Node:
    """One vertex.  `readers` are the nodes that read it: none, just one, or a dictionary of them."""

    __slots__ = ("changed", "rank", "readers")

    def __init__(self) -> None:
        self.changed = 0
        self.rank = 0
        # Most nodes have a single reader, and a dictionary for one costs more than the node itself.
        self.readers: Node | dict[Node, None] | None = None

    def each_reader(self) -> Iterable[Node]:
        """The nodes that read this one."""
        readers = self.readers
        if readers is None:
            return ()
        return readers if isinstance(readers, dict) else (readers,)

    def add_reader(self, reader: Node) -> None:
        """Add an edge; adding it again changes nothing."""
        readers = self.readers
        if readers is None:
            self.readers = reader
        elif isinstance(readers, dict):
            readers[reader] = None
        elif readers is not reader:
            self.readers = {readers: None, reader: None}

    def drop_reader(self, reader: Node) -> None:
        """Remove an edge, if it is there."""
        readers = self.readers
        if readers is reader:
            self.readers = None
        elif isinstance(readers, dict):
            readers.pop(reader, None)
            if not readers:
                self.readers = None

    def needed(self) -> bool:
        """Whether anything reads or leases the node; what is not needed is swept."""
        return self.readers is not None

    @property
    def busy(self) -> bool:
        """Whether the node is being computed right now: who reads it closes a circle."""
        return False

    def refresh(self, graph: Graph) -> None:
        """Bring the node up to date with the newest revision; inputs always are."""

    def free(self, graph: Graph) -> None:
        """Forget the node and cut its edges; called once nobody reads it."""
        raise NotImplementedError

    def describe(self) -> str:
        """The node as people read it in `explain`."""
        raise NotImplementedError


class NotReady(BaseException):
    """Raised through queries, never to users: what a query reads has to be settled first.

    The query is given up and runs again later: when the time slice is over while a map is built
    inside it, or when it meets a map whose own sources are still waiting for their turn.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


def show(args: tuple[Any, ...]) -> str:
    """Arguments as text, short enough for one line."""
    text = ", ".join("/".join(map(str, a)) if isinstance(a, tuple) else str(a) for a in args)
    return text if len(text) <= 160 else text[:157] + "..."
