"""From the graph to the source of key sets: which URIs are wanted, as policies come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from controlplane.base.clock import Clock
from controlplane.graph import Failure, Graph, Lease
from controlplane.mesh.remote_keys import MODE, MODES, key_fetching
from controlplane.settings import Settings
from controlplane.sources.jwks import HttpFetcher, KeySets, Pace, Reach, Shelf
from controlplane.telemetry.metrics import Metrics

PATIENCE = 3.0
"""Seconds for which the first proxies wait for keys: a provider that answers at all does so sooner."""


def settle_who_fetches(graph: Graph, mode: str) -> None:
    """Let the graph know who fetches key sets, a word of MODES; before anything is asked of it."""
    if mode != MODES[0]:
        graph.commit([(key_fetching, MODE, mode)])


def key_set_source(settings: Settings, clock: Clock, ids: Iterator[int], metrics: Metrics) -> KeySets:
    """The source of key sets as the settings want it."""

    def counted(success: bool) -> None:
        (metrics.jwks_fetched if success else metrics.jwks_failed).inc()

    return KeySets(
        HttpFetcher(Reach(settings.blocked_cidrs_in_jwks_uris), settings.jwks_root_file),
        clock=clock,
        ids=ids,
        pace=Pace(refresh=settings.jwt_pub_key_refresh_interval),
        shelf=Shelf(None if settings.data_dir is None else settings.data_dir / "jwks"),
        counted=counted,
    )


class WantedKeySets:
    """Owns the lease on `mesh.key_sets.wanted_key_sets` and passes on what it says."""

    def __init__(self, wanted: Lease, source: KeySets) -> None:
        self._wanted = wanted
        self._source = source
        wanted.on_change = self._tell

    async def tried(self) -> None:
        """Return when every key set was asked for once, or patience has an end.

        A control plane that is started anew would else tell proxies, which have keys, that there are none.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._source.tried()
        except TimeoutError:
            return

    def close(self) -> None:
        self._wanted.release()

    def _tell(self) -> None:
        found = {uri: self._wanted.get(uri) for uri in self._wanted.keys()}
        self._source.want({uri: one for uri, one in found.items() if not isinstance(one, Failure | None)})
