"""Memos: the value of a pure function for given arguments, with what it read.

`@query` turns a function `f(q, *args)` into a `Query`; inside other queries it is called as
`q(f, *args)`.  A memo runs again only if something it read has changed, in recorded order, and a
result equal to the old one keeps the old object and ends the wave (early cutoff).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from controlplane.base.errors import CycleError, GraphError
from controlplane.graph.node import Failure, Node, NotReady, State, show

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


class Memo(Node):
    """The stored result of one query for one tuple of arguments."""

    __slots__ = ("args", "deps", "query", "state", "value", "verified")

    def __init__(self, query: Query[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.query = query
        self.args = args
        self.state = State.NEW
        self.value: Any = None
        self.deps: tuple[Node, ...] = ()
        self.verified = 0

    def refresh(self, graph: Graph) -> None:
        """Validate what was read, in the order it was read; run only if something changed."""
        state = self.state
        if state is State.CLEAN:
            return
        if state is State.RUNNING:
            raise CycleError(graph.path_to(self))
        if state is State.DIRTY:
            graph.stack.append(self)
            self.state = State.RUNNING
            try:
                stale = self._stale(graph)
            except CycleError:
                stale = True  # running it again finds the circle, or that it is gone
            except BaseException:
                self.state = State.DIRTY
                raise
            finally:
                graph.stack.pop()
            if not stale:
                self.state = State.CLEAN
                self.verified = graph.tick
                graph.counters.validated += 1
                return
        self._run(graph)

    def _stale(self, graph: Graph) -> bool:
        verified = self.verified
        for dep in self.deps:
            dep.refresh(graph)
            if dep.changed > verified:
                return True
        return False

    def _run(self, graph: Graph) -> None:
        before = State.DIRTY if self.verified else State.NEW
        self.state = State.RUNNING
        value, deps = graph.evaluate(self, before)
        self._rewire(graph, deps)
        self.state = State.CLEAN
        if before is State.NEW or value != self.value:
            self.value = value
            graph.tick += 1
            self.changed = graph.tick
        else:
            graph.counters.equal += 1
        self.verified = graph.tick

    def _rewire(self, graph: Graph, deps: dict[Node, None]) -> None:
        fresh = tuple(deps)
        old = self.deps
        if fresh == old:
            return
        self.deps = fresh
        for dep in fresh:
            dep.rdeps[self] = None
        for dep in old:
            if dep not in deps:
                graph.cut(dep, self)
        rank = max((dep.rank for dep in fresh), default=0)
        if rank > self.rank:
            graph.raise_rank(self, rank)

    def free(self, graph: Graph) -> None:
        graph.memos.pop((self.query, self.args), None)
        for dep in self.deps:
            graph.cut(dep, self)
        self.deps = ()
        self.value = None

    def describe(self) -> str:
        return f"{self.query.name}({show(self.args)})"


def evaluate(graph: Graph, memo: Memo, before: State) -> tuple[Any, dict[Node, None]]:
    """Run a memo's function once, recording its reads; a raised error becomes a `Failure` value."""
    from controlplane.graph.q import Q

    q = Q(graph)
    graph.stack.append(memo)
    try:
        value = memo.query.fn(q, *memo.args)
        if graph.paranoid:
            _check_pure(graph, memo, value)
    except NotReady:
        memo.state = before
        graph.orphans.update(q.deps)
        raise
    except Exception as error:  # noqa: BLE001 - the root of a query: its failure is stored, its siblings are spared
        value = Failure(memo.describe(), error)
        graph.counters.failed += 1
    except BaseException:
        memo.state = before
        raise
    finally:
        graph.stack.pop()
    graph.counters.run(memo.query.name)
    return value, q.deps


def _check_pure(graph: Graph, memo: Memo, value: Any) -> None:
    from controlplane.graph.q import Q

    again = memo.query.fn(Q(graph), *memo.args)
    if again != value:
        raise GraphError(f"{memo.describe()} is not pure: two runs at one revision differ")
