"""Keyed maps: aggregates that are patched key by key.

A `@keyed` query returns a `Plan` and never iterates over what it aggregates.  The map keeps one
child memo per member; a change marks the members it touched, and settling the map visits those
alone.  Readers choose what they depend on: one entry, the membership, or all contents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic

from controlplane.graph.history import History
from controlplane.graph.memo import Memo, P, Query
from controlplane.graph.node import Edge, Failure, Node, NotReady, State, show
from controlplane.graph.table import Bucket

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph
    from controlplane.graph.plan import Plan
    from controlplane.graph.q import Q
    from controlplane.graph.shape import Shape


class Keyed(Generic[P]):
    """A declared keyed map; read with `q.at`, `q.map`, `q.part`, `q.values` or a lease."""

    def __init__(self, fn: Callable[Concatenate[Q, P], Plan]) -> None:
        self.plan: Query[..., Plan] = Query(fn)
        self.name = self.plan.name
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"keyed {self.name}"


def keyed(fn: Callable[Concatenate[Q, P], Plan]) -> Keyed[P]:
    """Declare a keyed map: `def m(q, *args) -> Plan`."""
    return Keyed(fn)


class Watch(Node):
    """A facet of a keyed map that something reads; it changes when that facet does."""

    __slots__ = ("owner",)

    def __init__(self, owner: KeyedMap) -> None:
        super().__init__()
        self.owner = owner
        self.rank = owner.rank
        owner.rdeps[self] = None

    def refresh(self, graph: Graph) -> None:
        owner = self.owner
        if owner.unsettled:
            graph.require(owner)


class Entry(Watch):
    """The value under one key; None while the key is absent."""

    __slots__ = ("key", "value")

    def __init__(self, owner: KeyedMap, key: Any) -> None:
        super().__init__(owner)
        self.key = key
        self.value = owner.shape.get(key)

    def free(self, graph: Graph) -> None:
        self.owner.entries.pop(self.key, None)
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"{self.owner.describe()}[{show((self.key,))}]"


class Membership(Watch):
    """The set of keys."""

    __slots__ = ()

    def __contains__(self, key: object) -> bool:
        return key in self.owner.shape

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def keys(self) -> tuple[Any, ...]:
        """The keys, sorted."""
        return self.owner.order()

    def free(self, graph: Graph) -> None:
        self.owner.facets[0] = None
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"keys of {self.owner.describe()}"


class Contents(Watch):
    """All keys and values."""

    __slots__ = ()

    def values(self) -> list[Any]:
        """The values in key order, failures left out."""
        get = self.owner.shape.get
        values = map(get, self.owner.order())
        return [value for value in values if value.__class__ is not Failure]

    def free(self, graph: Graph) -> None:
        self.owner.facets[1] = None
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"contents of {self.owner.describe()}"


class Part(Watch):
    """The distinct items of one group, counted by how many members give each.

    Unlike the other facets it exists unread too; it counts as a reader of its map while it is read.
    """

    __slots__ = ("_sorted", "counts", "key")

    def __init__(self, owner: KeyedMap, key: Any) -> None:
        super().__init__(owner)
        del owner.rdeps[self]
        self.key = key
        self.counts: dict[Any, int] = {}
        self._sorted: tuple[Any, ...] | None = None

    def __contains__(self, item: object) -> bool:
        return item in self.counts

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def keys(self) -> tuple[Any, ...]:
        """The items, sorted."""
        if self._sorted is None:
            self._sorted = tuple(sorted(self.counts))
        return self._sorted

    def count(self, graph: Graph, item: Any, by: int) -> None:
        """Count an item up or down; readers hear of it when it appears or goes."""
        before = self.counts.get(item, 0)
        after = before + by
        if after:
            self.counts[item] = after
        else:
            del self.counts[item]
        if not (before and after):
            self._sorted = None
            graph.touch(self, item)

    def free(self, graph: Graph) -> None:
        self.owner.shape.forget(self.key)
        graph.cut(self.owner, self)

    def describe(self) -> str:
        return f"{self.owner.describe()}[{show((self.key,))}]"


Source = Bucket | Membership | Part


class KeyedMap(Node):
    """One keyed map for one tuple of arguments."""

    __slots__ = (
        "_order", "args", "children", "entries", "facets", "failure", "history", "keyed",
        "patched", "pending", "plan", "plan_node", "planned", "queued", "shape", "sources", "touched",
    )  # fmt: skip

    def __init__(self, keyed: Keyed[...], args: tuple[Any, ...], plan_node: Memo, shape: Shape) -> None:
        super().__init__()
        self.keyed = keyed
        self.args = args
        self.plan_node = plan_node
        self.plan: Plan | None = None
        self.planned = False
        self.sources: tuple[Source, ...] = ()
        self.shape = shape
        self.children: dict[Any, Memo] = {}
        self.touched: dict[Any, None] = {}
        self.pending: dict[Any, None] = {}
        self.entries: dict[Any, Entry] = {}
        self.facets: list[Any] = [None, None]
        self.history: History | None = None
        self.failure: Failure | None = None
        self.patched: dict[Any, bool] = {}
        self.queued = False
        self._order: tuple[Any, ...] | None = None
        plan_node.rdeps[self] = Edge.PLAN

    @property
    def unsettled(self) -> bool:
        """Whether something has to be recomputed before the map may be read."""
        return not self.planned or bool(self.touched) or bool(self.pending)

    def order(self) -> tuple[Any, ...]:
        """The keys, sorted."""
        if self._order is None:
            self._order = tuple(sorted(self.shape))
        return self._order

    # What readers depend on.

    def entry(self, key: Any) -> Entry:
        node = self.entries.get(key)
        if node is None:
            node = self.entries[key] = Entry(self, key)
        return node

    def membership(self) -> Membership:
        if self.facets[0] is None:
            self.facets[0] = Membership(self)
        return self.facets[0]  # type: ignore[no-any-return]

    def contents(self) -> Contents:
        if self.facets[1] is None:
            self.facets[1] = Contents(self)
        return self.facets[1]  # type: ignore[no-any-return]

    def part(self, key: Any) -> Part:
        part = self.shape.part(self, key)
        part.rank = self.rank
        self.rdeps[part] = None
        return part

    # Called by the shape while it patches.

    def patch(self, key: Any, membership: bool) -> None:
        """Note that the value under `key` changed, and whether the key appeared or went."""
        self.patched[key] = self.patched.get(key, False) or membership

    # Settling.

    def mark(self, edge: Any, key: Any) -> None:
        """A dependency changed: remember which member has to be looked at."""
        if edge is Edge.PLAN:
            self.planned = False
        elif edge is Edge.SOURCE:
            self.touched[key] = None
        else:
            self.pending[edge.key] = None

    def refresh(self, graph: Graph) -> None:
        if self.unsettled:
            graph.require(self)

    def settle(self, graph: Graph) -> bool:
        """Bring the map up to date; False when the graph's budget ran out on the way."""
        if not self.planned:
            self._replan(graph)
        if self.touched:
            self._sync_members(graph)
        done = self._sync_children(graph)
        self._publish(graph)
        return done

    def _replan(self, graph: Graph) -> None:
        self.plan_node.refresh(graph)
        value = self.plan_node.value
        new: Plan | None = None if value.__class__ is Failure else value
        self.failure = value if new is None else None
        self._attach(graph, new.sources if new else ())
        for source in self.sources:
            source.refresh(graph)  # may raise NotReady; the members have not been touched so far
        self.planned = True
        old = self.plan
        if new == old:
            return
        if old is None or new is None or (old.child, old.args) != (new.child, new.args):
            for key in list(self.children):
                self._drop(graph, key)
        if new is not None:
            self.shape.recast(self, new.form)
        self.plan = new
        self.touched.update(dict.fromkeys(self.children))
        for source in self.sources:
            self.touched.update(dict.fromkeys(source.keys()))

    def _attach(self, graph: Graph, sources: tuple[Source, ...]) -> None:
        for source in sources:
            source.rdeps[self] = Edge.SOURCE
        for source in self.sources:
            if source not in sources:
                graph.cut(source, self)
        self.sources = sources
        graph.raise_rank(self, 1 + max([self.plan_node.rank, *(s.rank for s in sources)]))

    def _sync_members(self, graph: Graph) -> None:
        plan = self.plan
        for source in self.sources:
            source.refresh(graph)
        for key in self.touched:
            present = any(key in source for source in self.sources)
            known = key in self.children
            if present and not known and plan is not None:
                child = graph.memo(plan.child, (*plan.args, key))
                self.children[key] = child
                child.rdeps[self] = Child(key)
                self.pending[key] = None
            elif known and not present:
                self._drop(graph, key)
        self.touched.clear()

    def _drop(self, graph: Graph, key: Any) -> None:
        graph.cut(self.children.pop(key), self)
        self.pending.pop(key, None)
        self.shape.put(self, graph, key, None)

    def _sync_children(self, graph: Graph) -> bool:
        pending = self.pending
        while pending:
            key = next(iter(pending))
            child = self.children[key]
            try:
                child.refresh(graph)
            except NotReady:
                self._publish(graph)
                raise
            del pending[key]
            if child.rank >= self.rank:
                graph.raise_rank(self, child.rank + 1)
            self.shape.put(self, graph, key, child.value)
            if pending and graph.out_of_time():
                return False
        return True

    def _publish(self, graph: Graph) -> None:
        """Tell the readers what was patched: each entry its own change, the facets once each."""
        if not self.patched:
            return
        patched, self.patched = self.patched, {}
        graph.tick += 1
        self.changed = graph.tick
        moved = [key for key, membership in patched.items() if membership]
        if moved:
            self._order = None
        for key in patched:
            entry = self.entries.get(key)
            if entry is not None:
                entry.value = self.shape.get(key)
                graph.touch(entry, key)
            if self.history is not None and self.history.floor < graph.revision:
                self.history.record(key, graph.revision)
        membership, contents = self.facets
        for key in moved if membership is not None else ():
            graph.touch(membership, key)
        if contents is not None:
            graph.touch(contents, None)
        if self.holds:
            graph.changed_roots[self] = None

    def free(self, graph: Graph) -> None:
        graph.maps.pop((self.keyed, self.args), None)
        # The plan names its sources without keeping them: a new map must plan anew.
        self.plan_node.state = State.NEW
        graph.cut(self.plan_node, self)
        for source in self.sources:
            graph.cut(source, self)
        for child in self.children.values():
            graph.cut(child, self)
        self.children.clear()
        self.pending.clear()
        self.touched.clear()
        self.shape.clear()
        self.queued = False

    def describe(self) -> str:
        return f"{self.keyed.name}({show(self.args)})"


class Child:
    """The edge from a child memo to its map: the member it stands for."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key
