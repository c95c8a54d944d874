"""From the graph to the source of addresses: which services want one, as they come and go."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.base.clock import Clock
from controlplane.graph import Failure, Graph, Lease
from controlplane.mesh.allocated import wanted_addresses
from controlplane.settings import Settings
from controlplane.sources.allocated import AllocatedAddresses


def address_source(settings: Settings, clock: Clock, ids: Iterator[int]) -> AllocatedAddresses:
    """The source of addresses as the settings want it."""
    file = None if settings.data_dir is None else settings.data_dir / "addresses.json"
    return AllocatedAddresses(file, clock=clock, ids=ids)


class WantedAddresses:
    """Owns the lease on `mesh.allocated.wanted_addresses` and passes on what it says."""

    def __init__(self, graph: Graph, source: AllocatedAddresses) -> None:
        self._wanted = graph.lease(wanted_addresses)
        self._source = source
        self._wanted.on_change = self._tell

    async def given(self) -> None:
        """Return when everybody has an address: proxies should not be told first that there is none."""
        await self._source.given()

    def close(self) -> None:
        self._wanted.release()

    def _tell(self) -> None:
        self._source.want(_read(self._wanted))


def _read(wanted: Lease) -> dict[tuple[str, str], tuple[str, ...]]:
    found = {id: wanted.get(id) for id in wanted.keys()}
    return {id: own for id, own in found.items() if not isinstance(own, Failure | None)}
