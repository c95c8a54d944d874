"""Memos: the value of a pure function for given arguments, with what it read.

`@query` turns a function `f(q, *args)` into a `Query`; inside other queries it is called as
`q(f, *args)`.  A memo runs again only if something it read has changed, in recorded order, and a
result equal to the old one keeps the old object and ends the wave (early cutoff).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from controlplane.base.errors import CycleError, GraphError
from controlplane.graph.failure import Failure, failure_of
from controlplane.graph.node import CLEAN, NEW, RUNNING, Node, show

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph
    from controlplane.graph.q import Q

P = ParamSpec("P")
R = TypeVar("R")


class Query(Generic[P, R]):
    """A declared query; its identity, not its name, is the key of its memos."""

    def __init__(self, fn: Callable[Concatenate[Q, P], R]) -> None:
        self.fn = fn
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__qualname__}"
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"query {self.name}"


def query(fn: Callable[Concatenate[Q, P], R]) -> Query[P, R]:
    """Declare a memoised pure function of the graph: `def f(q, *args)` with hashable arguments."""
    return Query(fn)


class Family:
    """All memos of one query in one graph, by arguments, and how often the query ran."""

    __slots__ = ("fn", "memos", "query", "runs")

    def __init__(self, query: Query[..., Any]) -> None:
        self.query = query
        self.fn = query.fn
        self.memos: dict[tuple[Any, ...], Memo] = {}
        self.runs = 0

    def memo(self, args: tuple[Any, ...]) -> Memo:
        """The memo for these arguments, made when it does not exist."""
        node = self.memos.get(args)
        if node is None:
            node = self.memos[args] = Memo(self, args)
        return node


class Families(dict[Query[..., Any], Family]):
    """The memos of all queries that have been asked."""

    def __missing__(self, query: Query[..., Any]) -> Family:
        family = self[query] = Family(query)
        return family


class Memo(Node):
    """The stored result of one query for one tuple of arguments."""

    __slots__ = ("args", "deps", "family", "holds", "state", "value", "verified")

    def __init__(self, family: Family, args: tuple[Any, ...]) -> None:
        # As Node.__init__, without the call: there are a hundred thousand of these.
        self.changed = 0
        self.rank = 0
        self.readers = None
        self.family = family
        self.args = args
        self.state = NEW
        self.value: Any = None
        self.deps: tuple[Node, ...] = ()
        self.verified = 0
        self.holds: list[Any] | None = None

    def needed(self) -> bool:
        return self.readers is not None or self.holds is not None

    @property
    def busy(self) -> bool:
        return self.state == RUNNING

    @property
    def failure(self) -> Failure | None:
        """Why there is no value, where the query raised."""
        return self.value if isinstance(self.value, Failure) else None

    def refresh(self, graph: Graph) -> None:
        """Validate what was read, in the order it was read; run only if something changed."""
        state = self.state
        if state == CLEAN:
            return
        if state == RUNNING:
            raise CycleError(graph.path_to(self))
        graph.stack.append(self)
        self.state = RUNNING
        try:
            if state == NEW or self._stale(graph):
                self._run(graph, first=state == NEW)
            else:
                graph.counters.validated += 1
            self.verified = graph.tick
            state = CLEAN
        finally:
            self.state = state
            graph.stack.pop()

    def _stale(self, graph: Graph) -> bool:
        verified = self.verified
        try:
            for dep in self.deps:
                dep.refresh(graph)
                if dep.changed > verified:
                    return True
        except CycleError:
            return True  # running it again finds the circle, or that it is gone
        return False

    def _run(self, graph: Graph, first: bool) -> None:
        """Run the function once, recording its reads; a raised error becomes a `Failure` value."""
        q = graph.q
        outer, q.deps = q.deps, {}
        try:
            value = self.family.fn(q, *self.args)
            if graph.paranoid:
                self._check_pure(graph, value)
            equal = not first and (value is self.value or value == self.value)
        except Exception as error:  # noqa: BLE001 - the root of a query: its failure is stored, its siblings are spared
            value = failure_of(self.describe(), error)
            equal = not first and value == self.value
            graph.counters.failed += 1
        except BaseException:
            # Given up in the middle: what only this run has asked for must not stay for ever.
            graph.orphans.update(q.deps)
            raise
        finally:
            deps, q.deps = q.deps, outer
        self.family.runs += 1
        # What failed was ranked by nothing (a circle has no ranks), so its mending ranks it anew.
        mended = self.value.__class__ is Failure
        if equal:
            graph.counters.equal += 1
        else:
            self.value = value
            self.changed = graph.tick
            if self.holds is not None:
                graph.agenda.changed[self] = None
            if value.__class__ is Failure and value.circular:
                graph.circles.note(self)
        read = tuple(deps)
        if mended or read != self.deps:
            self._rewire(graph, read, deps)

    def _rewire(self, graph: Graph, read: tuple[Node, ...], deps: dict[Node, None]) -> None:
        old, self.deps = self.deps, read
        rank = self.rank
        for dep in read:
            dep.add_reader(self)
            if dep.rank > rank:
                rank = dep.rank
        for dep in old:
            if dep not in deps:
                graph.cut(dep, self)
        if rank > self.rank:
            graph.agenda.raise_rank(self, rank)

    def _check_pure(self, graph: Graph, value: Any) -> None:
        q = graph.q
        first, q.deps = q.deps, {}
        try:
            again = self.family.fn(q, *self.args)
        finally:
            graph.orphans.update(q.deps)
            q.deps = first
        if again != value:
            raise GraphError(f"{self.describe()} is not pure: two runs at one revision differ")

    def free(self, graph: Graph) -> None:
        self.family.memos.pop(self.args, None)
        for dep in self.deps:
            graph.cut(dep, self)
        self.deps = ()
        self.value = None
        self.state = NEW

    def describe(self) -> str:
        return f"{self.family.query.name}({show(self.args)})"
