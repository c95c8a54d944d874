"""What the graph is made of: nodes, their edges and the two counters that order everything.

A *revision* counts commits; users see it.  A *tick* counts single changes inside the graph; it
answers "did this dependency change after I last looked?" without comparing values again.

A node's *rank* is one more than the highest rank of the keyed maps below it.  Maps are settled in
rank order, so whatever a map reads is final when it is read (no glitches).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph


class State(IntEnum):
    """How far a node's value can be trusted."""

    NEW = 0
    CLEAN = 1
    DIRTY = 2
    RUNNING = 3


class Edge(Enum):
    """Why a keyed map depends on a node, where that is not "it is my child for key K"."""

    PLAN = "plan"
    SOURCE = "source"


class Failure:
    """The stored outcome of a query that raised; equal when type and text are equal."""

    __slots__ = ("cause", "node")

    def __init__(self, node: str, cause: BaseException) -> None:
        self.node = node
        self.cause = cause

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Failure)
            and type(self.cause) is type(other.cause)
            and str(self.cause) == str(other.cause)
        )

    def __hash__(self) -> int:
        return hash((type(self.cause), str(self.cause)))

    def __repr__(self) -> str:
        return f"Failure({self.node}: {self.cause!r})"


class Node:
    """One vertex: `rdeps` are the nodes that read it (value: why, for keyed maps)."""

    __slots__ = ("changed", "holds", "rank", "rdeps")

    def __init__(self) -> None:
        self.rdeps: dict[Node, Any] = {}
        self.changed = 0
        self.rank = 0
        self.holds: list[Any] | None = None

    def refresh(self, graph: Graph) -> None:
        """Bring the node up to date with the newest revision; inputs always are."""

    def free(self, graph: Graph) -> None:
        """Forget the node and cut its edges; called once nobody reads it."""
        raise NotImplementedError

    def describe(self) -> str:
        """The node as people read it in `explain`."""
        raise NotImplementedError


class NotReady(BaseException):
    """Raised through queries, never to users: a keyed map has to be settled first.

    A settle with a budget does not build a map inside another one: it puts the reader back, settles
    the map in slices and runs the reader again (Skyframe's restart).
    """

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


def show(args: tuple[Any, ...]) -> str:
    """Arguments as text, short enough for one line."""
    text = ", ".join("/".join(map(str, a)) if isinstance(a, tuple) else str(a) for a in args)
    return text if len(text) <= 160 else text[:157] + "..."
