"""Planning: from what a keyed query returned to the sources that a map follows.

Whatever goes wrong here is stored as the map's failure: it has no members then, and whoever reads it
fails as well, until the plan or the source that failed is mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controlplane.base.errors import GraphError
from controlplane.graph.failure import Failure, failure_of
from controlplane.graph.keyed import Plan, Source
from controlplane.graph.node import FREED, NEW, NotReady
from controlplane.graph.shape import SHAPES

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph
    from controlplane.graph.map import KeyedMap


def replan(map: KeyedMap, graph: Graph) -> None:
    """Run the plan if it has to, follow its sources, and note which members have to be looked at."""
    graph.agenda.arrive(map.plan_node)
    found = _read(map)
    failure: Failure | None
    if isinstance(found, Failure):
        _follow(map, graph, ())
        failure, new = found, None
    else:
        failure = _arrive(map, graph, found.sources)
        _follow(map, graph, found.sources)
        new = found if failure is None else None
    map.planned = True
    map.unsure = False
    map.failure = failure
    if failure is not None and failure.circular:
        graph.circles.note(map)
    if new != map.plan:
        _take(map, graph, new)


def _read(map: KeyedMap) -> Plan | Failure:
    value = map.plan_node.value
    if isinstance(value, Failure):
        return value
    if not isinstance(value, Plan):
        return _refused(map, f"returns {value!r:.80}: a keyed query returns each(), flat() or group()")
    if map.form is not None and map.form is not value.form:
        return _refused(map, f"changes its form to {value.form.value}: a map keeps its form")
    if any(source.rank == FREED for source in value.sources):
        return _refused(map, "names a collection that a query has kept: name it in the plan itself")
    return value


def _refused(map: KeyedMap, reason: str) -> Failure:
    return Failure(map.describe(), GraphError(f"{map.describe()} {reason}"))


def _arrive(map: KeyedMap, graph: Graph, sources: tuple[Source, ...]) -> Failure | None:
    """Bring the sources up to date; returns the first one's failure."""
    failure: Failure | None = None
    for source in sources:
        try:
            graph.agenda.arrive(source)
            found = source.failure
        except NotReady:
            # Until the map follows its sources nothing keeps them: the plan has to name them again.
            map.plan_node.state = NEW
            raise
        except GraphError as error:
            found = failure_of(map.describe(), error)
        failure = failure or found
    return failure


def _follow(map: KeyedMap, graph: Graph, sources: tuple[Source, ...]) -> None:
    """Move the map's edges to these sources.

    Only now that they are up to date: ranks follow edges, and before it a circle may be on record
    that is none any more.
    """
    for source in sources:
        source.add_reader(map)
    for source in map.sources:
        if source not in sources:
            graph.cut(source, map)
    map.sources = sources
    rank = 1 + max([map.plan_node.rank, *(source.rank for source in sources)])
    if rank > map.rank:
        graph.agenda.raise_rank(map, rank)


def _take(map: KeyedMap, graph: Graph, new: Plan | None) -> None:
    """Go over to another plan; members whose child stays the same are kept."""
    old, map.plan = map.plan, new
    if old is None or new is None or (old.child, old.args) != (new.child, new.args):
        for key in list(map.children):
            map.drop(graph, key)
    map.touched.update(dict.fromkeys(map.children))
    map.touched.update(dict.fromkeys(map.pending))
    if new is None:
        return
    if map.form is None:
        map.form = new.form
        map.shape = SHAPES[new.form]()
    for source in map.sources:
        map.touched.update(dict.fromkeys(source.container()))
