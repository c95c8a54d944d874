"""The maps themselves: one child memo per member, patched key by key.

A change marks the members it touched, and settling the map visits those alone.  Readers choose what
they depend on: one entry, the membership, a group or all contents (see facets).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from controlplane.base.errors import CycleError, GraphError
from controlplane.graph import planning
from controlplane.graph.facets import Contents, Entry, Membership, Part
from controlplane.graph.failure import Failure
from controlplane.graph.history import History
from controlplane.graph.keyed import Keyed, Plan, Source
from controlplane.graph.memo import Memo
from controlplane.graph.node import CLEAN, FILLING, IDLE, NEW, PLANNING, Form, Node, show
from controlplane.graph.ordered import Ordered
from controlplane.graph.shape import Shape

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph

FAILED: Final = object()
"""In place of a key: the map that a facet belongs to has failed as a whole, or is mended."""
ANYWHERE: Final = object()
"""In place of a key: nobody knows where a collection has changed, or whether it has."""


class KeyedMap(Node):
    """One keyed map for one tuple of arguments.

    `dirty`: something has to be looked at before the map may be read; `built`: it was complete once.
    """

    __slots__ = (
        "args", "built", "children", "circles", "contents", "dirty", "entries", "failure", "form", "history",
        "holds", "keyed", "membership", "order", "parts", "pending", "phase", "plan", "plan_node", "planned",
        "queued", "shape", "sources", "touched", "unsure", "waited", "was_circle", "was_failure",
    )  # fmt: skip

    def __init__(self, keyed: Keyed[...], args: tuple[Any, ...], plan_node: Memo) -> None:
        super().__init__()
        self.rank = 1
        self.keyed = keyed
        self.args = args
        self.plan_node = plan_node
        self.plan: Plan | None = None
        self.sources: tuple[Source, ...] = ()
        self.children: dict[Any, Memo] = {}
        self.form: Form | None = None
        self.shape = Shape()
        self.order = Ordered()
        # What has to be looked at: the plan, all sources, some members, some children.
        self.planned = False
        self.unsure = False
        self.touched: dict[Any, None] = {}
        self.pending: dict[Any, None] = {}
        # Why there is nothing, where the plan or a source has failed; and what readers know of it.
        self.failure: Failure | None = None
        self.was_failure: Failure | None = None
        # Children that are part of a circle, and whether readers know that there are any.
        self.circles: dict[Any, Failure] = {}
        self.was_circle = False
        self.dirty = True
        self.built = False
        self.phase = IDLE
        self.queued = False
        self.waited = 0
        # Who reads and holds it.  Entries count as readers by being there.
        self.entries: dict[Any, Entry] = {}
        self.membership: Membership | None = None
        self.contents: Contents | None = None
        self.parts: dict[Any, Part] = {}
        self.holds: list[Any] | None = None
        self.history: History | None = None
        plan_node.add_reader(self)

    def each_reader(self) -> Iterable[Node]:
        return chain(super().each_reader(), self.entries.values())

    @property
    def circle(self) -> Failure | None:
        """Why nothing can be read that depends on all children, where one of them is part of a circle."""
        return next(iter(self.circles.values()), None)

    def needed(self) -> bool:
        return self.readers is not None or bool(self.entries) or self.holds is not None

    # What readers depend on.

    def entry(self, key: Any) -> Entry:
        """The value under a key, as a node."""
        node = self.entries.get(key)
        if node is None:
            node = self.entries[key] = Entry(self, key)
        return node

    def keys_node(self) -> Membership:
        """The set of keys, as a node."""
        if self.membership is None:
            self.membership = Membership(self)
            self.add_reader(self.membership)
        return self.membership

    def contents_node(self) -> Contents:
        """Keys and values, as a node."""
        if self.contents is None:
            self.contents = Contents(self)
            self.add_reader(self.contents)
        return self.contents

    def part(self, key: Any) -> Part:
        """One group; it may be asked for before it, or even the map, has anything."""
        part = self.parts.get(key)
        if part is None:
            part = self.parts[key] = Part(self, key)
        return part

    def part_node(self, key: Any) -> Part:
        """One group, as a node that is about to be read."""
        part = self.part(key)
        part.rank = self.rank
        self.add_reader(part)
        return part

    # Settling.

    def mark(self, node: Node, key: Any) -> None:
        """A dependency changed, or may have: remember what has to be looked at."""
        self.dirty = True
        if node is self.plan_node:
            self.planned = False
        elif node.__class__ is Memo:
            self.pending[node.args[-1]] = None
        elif key is FAILED:
            self.planned = False
        elif key is ANYWHERE:
            self.unsure = True
        else:
            self.touched[key] = None

    def settle(self, graph: Graph) -> bool:
        """Bring the map up to date; False when the graph's time was over on the way.

        Readers see nothing before all is done: then it is published at once.
        """
        while True:
            self.phase = PLANNING
            if not self.planned:
                planning.replan(self, graph)
            if self.unsure or self.touched:
                self._sync_members(graph)
            self.phase = FILLING
            if not self._sync_children(graph):
                return False
            if self.planned and not (self.unsure or self.touched or self.pending):
                break
        self.dirty = False
        self.built = True
        self._publish(graph)  # what is published may come back to this map and mark it again
        return True

    def _sync_members(self, graph: Graph) -> None:
        """Follow the sources."""
        try:
            for source in self.sources:
                graph.agenda.arrive(source)
        except GraphError:
            self.planned = False  # a source turns out to read this map: planning will say so
            return
        self.unsure = False
        containers = [source.container() for source in self.sources] if self.plan is not None else []
        for key in self.touched:
            for container in containers:
                if key in container:
                    if key not in self.children:
                        self.pending[key] = None
                    break
            else:
                self.drop(graph, key)
        self.touched.clear()

    def drop(self, graph: Graph, key: Any) -> None:
        """Take a member out, if it is in."""
        self.pending.pop(key, None)
        child = self.children.pop(key, None)
        if child is not None:
            self.circles.pop(key, None)
            self.shape.put(self, key, None)
            graph.cut(child, self)

    def _sync_children(self, graph: Graph) -> bool:
        pending, children, agenda = self.pending, self.children, graph.agenda
        put = self.shape.put
        while pending:
            # A copy: taking the first of a dictionary again and again is quadratic.
            for key in tuple(pending):
                child = children.get(key)
                if child is None:
                    child = self._bear(graph, key)
                elif child.state != CLEAN:
                    agenda.arrive(child)
                if child.rank >= self.rank:
                    agenda.raise_rank(self, child.rank + 1)
                value = child.value
                if value.__class__ is Failure and value.circular:
                    self.circles[key] = value
                elif self.circles:
                    self.circles.pop(key, None)
                put(self, key, value)
                pending.pop(key, None)
                if agenda.limited and pending and agenda.out_of_time():
                    return False
        return True

    def _bear(self, graph: Graph, key: Any) -> Memo:
        """A new member's child, up to date.

        It gets its edge only then: ranks follow edges, and this one may yet close a circle.
        """
        plan = self.plan
        assert plan is not None
        child = graph.families[plan.child].memo((*plan.args, key))
        try:
            graph.agenda.arrive(child)
        except BaseException:
            graph.orphans.add(child)
            raise
        self.children[key] = child
        child.add_reader(self)
        return child

    def peek(self, graph: Graph, key: Any) -> Any:
        """The value of one child while the map is being settled, for a query inside it."""
        if self.phase != FILLING or self.form is not Form.EACH:
            raise CycleError(graph.path_to(self))  # it depends on all children, or on who they are
        graph.circles.note(graph.stack[-1])
        child = self.children.get(key)
        if child is None:
            return self._bear(graph, key).value if key in self.pending else None
        graph.agenda.arrive(child)
        return child.value

    def _publish(self, graph: Graph) -> None:
        """Tell the readers what has changed: entries and groups their own, the other facets once."""
        fails = self.failure != self.was_failure or self.was_circle != bool(self.circles)
        if not self.shape.before and not fails:
            return
        graph.tick += 1
        changed = self.shape.publish(self, graph)
        if not changed and not fails:
            return
        self.changed = graph.tick
        moved = [key for key, membership in changed.items() if membership]
        for key in moved:
            self.order.move(key)
            if self.membership is not None:
                graph.touch(self.membership, key)
        if self.entries:
            for key in changed:
                if key in self.entries:
                    graph.touch(self.entries[key], key)
        if self.contents is not None:
            graph.touch(self.contents, None)
        if fails:
            self.was_failure, self.was_circle = self.failure, bool(self.circles)
            for facet in self.each_reader():
                graph.touch(facet, FAILED)
        if self.history is not None:
            self.history.record(changed, graph.revision)
        if self.holds is not None:
            graph.agenda.changed[self] = None

    def free(self, graph: Graph) -> None:
        graph.maps.pop((self.keyed, self.args), None)
        # The plan names its sources without keeping them: a new map must plan anew.
        self.plan_node.state = NEW
        graph.cut(self.plan_node, self)
        for source in self.sources:
            graph.cut(source, self)
        for child in self.children.values():
            graph.cut(child, self)
        self.plan = None
        self.sources = ()
        for held in (self.children, self.circles, self.pending, self.touched, self.parts):
            held.clear()
        self.shape.clear()

    def describe(self) -> str:
        return f"{self.keyed.name}({show(self.args)})"
