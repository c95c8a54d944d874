"""From the graph and the streams to the source of machines: which groups there are, and who is connected."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.app.watchers import Watcher
from controlplane.base.clock import Clock
from controlplane.graph import Failure, Graph
from controlplane.mesh.workload_groups import groups
from controlplane.settings import Settings
from controlplane.sources.registered import Registrations
from controlplane.xds.observer import Connection


def registrations(settings: Settings, clock: Clock, ids: Iterator[int]) -> Registrations:
    """The source of the machines that join, as the settings want it."""
    file = None if settings.data_dir is None else settings.data_dir / "registered.json"
    return Registrations(file, clock=clock, ids=ids)


class KnownGroups:
    """Owns the lease on `mesh.workload_groups.groups` and passes on what it says."""

    def __init__(self, graph: Graph, source: Registrations) -> None:
        self._groups = graph.lease(groups)
        self._source = source
        self._groups.on_change = self._tell

    def close(self) -> None:
        self._groups.release()

    def _tell(self) -> None:
        found = {key: self._groups.get(key) for key in self._groups.keys()}
        self._source.groups({key: one for key, one in found.items() if not isinstance(one, Failure | None)})


class Joining(Watcher):
    """Tells the source of every proxy that comes and goes; those of no group it passes over."""

    def __init__(self, source: Registrations) -> None:
        self._source = source

    def connected(self, connection: Connection) -> None:
        self._source.arrived(connection.proxy)

    def gone(self, connection: Connection, at: float) -> None:
        self._source.left(connection.proxy)
