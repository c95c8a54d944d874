"""Circles: what is left to do about queries that read each other.

A circle is found where it closes: by reading what is being computed.  All its nodes fail then.  But
part of it may hold itself up after the rest is gone, each node reading the stored failure of the
next, and its edges keep all of it from being swept.  So whatever met a circle is remembered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controlplane.graph.failure import Failure
from controlplane.graph.map import KeyedMap
from controlplane.graph.memo import Memo
from controlplane.graph.node import DIRTY, FREED, NEW, Node

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

_MANY: Final = 1 << 40


def circular(node: Node) -> bool:
    """Whether a node has failed because of a circle."""
    if isinstance(node, Memo):
        failure = node.value
    elif isinstance(node, KeyedMap):
        failure = node.failure
    else:
        return False
    return failure.__class__ is Failure and failure.circular


class Circles:
    """The nodes of one graph that have met a circle."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._met: dict[Node, None] = {}
        # Whether anything was let go since it was last asked what only circles keep.
        self.loose = False
        # Of so many failures it is known that they stay, until something new comes in.
        self._hopeless = _MANY

    def note(self, node: Node) -> None:
        """This node failed because of a circle, or has read part of a map that was being settled."""
        self._met[node] = None

    def hope(self) -> None:
        """Something new has come in: what has failed may be tried again."""
        self._hopeless = _MANY

    def try_again(self) -> bool:
        """Mark all failures for another run; False when that is known not to help."""
        if not self._met:
            return False
        failed = [node for node in self._met if node.rank != FREED and circular(node)]
        if not failed or len(failed) >= self._hopeless:
            return False
        self._hopeless = len(failed)
        agenda = self._graph.agenda
        for node in failed:
            if isinstance(node, KeyedMap):
                node.planned = False
                node.dirty = True
                agenda.schedule(node)
            elif isinstance(node, Memo):
                node.state = DIRTY
                node.verified = -1  # whatever it has read counts as changed
                if node.holds is not None:
                    agenda.roots[node] = None
                self._graph.mark_readers(node, None)
        return True

    def loosen(self) -> bool:
        """Cut what only circles keep alive, so that it can be swept; returns whether there was any."""
        if not (self.loose and self._met):
            return False
        self.loose = False
        met = [node for node in self._met if node.rank != FREED]
        kept = dict.fromkeys(node for node in met if self._kept(node))
        self._met = kept
        for node in met:
            if node not in kept:
                self._let_go(node)
        return len(kept) < len(met)

    def _kept(self, start: Node) -> bool:
        """Whether a lease is somewhere above."""
        seen = {start}
        stack = [start]
        while stack:
            node = stack.pop()
            if isinstance(node, Memo | KeyedMap) and node.holds is not None:
                return True
            if isinstance(node, KeyedMap) and node in self._graph.agenda.wanted:
                return True
            fresh = [reader for reader in node.each_reader() if reader not in seen]
            seen.update(fresh)
            stack += fresh
        return False

    def _let_go(self, node: Node) -> None:
        below: tuple[Node, ...] = ()
        if isinstance(node, Memo):
            below, node.deps = node.deps, ()
            node.state = NEW
        elif isinstance(node, KeyedMap):
            below, node.sources = node.sources, ()
            node.plan = None
            node.planned = False
            node.dirty = True
        for one in below:
            self._graph.cut(one, node)
        # Should somebody lease it before it is swept: what read it has to look again.
        self._graph.mark_readers(node, None)
