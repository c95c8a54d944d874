"""From the graph to the source of key sets: which URIs are wanted, as policies come and go."""

from __future__ import annotations

import asyncio

from controlplane.graph import Failure, Lease
from controlplane.sources.jwks import KeySets

PATIENCE = 3.0
"""Seconds for which the first proxies wait for keys: a provider that answers at all does so sooner."""


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
