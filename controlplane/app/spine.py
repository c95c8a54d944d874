"""The spine: raw objects go in, and views of the settled graph come out.

Ingest, debouncer, graph, settler and views, wired as every control plane has them: a server adds sources
and gRPC, a replay adds a recording and a clock of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.app.watchers import Watcher
from controlplane.base.clock import Clock
from controlplane.envoy.patches.judge import judged
from controlplane.graph import Graph
from controlplane.store.debounce import Batch, Debouncer, Timing
from controlplane.store.ingest import Ingest
from controlplane.store.last_valid import Keeper
from controlplane.store.sight import Sight
from controlplane.xds.settle import Settler
from controlplane.xds.view import GraphViews


@dataclass(slots=True)
class Spine:
    """The parts; the tasks of `debouncer` and `settler` are run by whoever made it."""

    graph: Graph
    settler: Settler
    views: GraphViews
    debouncer: Debouncer
    ingest: Ingest
    _watcher: Watcher = field(default_factory=Watcher)

    def watch(self, watcher: Watcher) -> None:
        """Tell this one of commits and settles.  On a settle it must `views.tell()` the streams."""
        self._watcher = watcher
        self.settler.on_settled = watcher.settled

    def committed(self, revision: int, batch: Batch) -> None:
        """A batch was committed just now."""
        self._watcher.committed(revision, batch)


def spine(
    clock: Clock,
    timing: Timing,
    sources: Sequence[str],
    *,
    paranoid: bool = False,
    on_demand: bool = False,
    keeper: Keeper | None = None,
) -> Spine:
    """Make the parts; nothing is written before all `sources` have synced.

    `on_demand`: incremental sidecars are given their virtual hosts when they ask for them.
    `keeper` remembers over restarts what was in force.
    """
    graph = Graph(paranoid=paranoid)
    settler = Settler(graph, clock)
    sight = Sight(lambda table: graph.rows(table).values)

    async def commit(batch: Batch) -> None:
        revision = settler.commit(sight.seen(batch.writes))
        made.committed(revision, batch)
        await settler.settled(revision)

    debouncer = Debouncer(clock, commit, timing)
    ingest = Ingest(debouncer, expected=sources, clock=clock, keeper=keeper, judge=judged)
    views = GraphViews(settler, on_demand=on_demand)
    made = Spine(graph, settler, views, debouncer, ingest)
    return made
