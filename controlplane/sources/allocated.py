"""Virtual IPs for services that name none: who has which, remembered over restarts.

The graph says which hosts want an address; what they are given comes back as objects, in one batch.  With a
file the next process gives the same ones again, before anybody has asked; without one, nearly the same: an
address follows from the host's name, except where two names meet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock
from controlplane.model.allocation import NETWORK, Claimant, assign, is_ours
from controlplane.model.kinds.allocated_address import (
    ALLOCATED_ADDRESS,
    ALLOCATED_GROUP,
    allocated_key,
    allocated_object,
)
from controlplane.sources.change import Change, Sink
from controlplane.sources.remembered import Remembered

_log = logging.getLogger(__name__)


class AllocatedAddresses:
    """The source of AllocatedAddresses.

    `file` remembers them as JSON, [host, namespace, address] each; None = nothing is kept.  `ids` numbers
    changes.
    """

    name = "addresses"

    def __init__(self, file: Path | None, *, clock: Clock, ids: Iterator[int]) -> None:
        self._memory = Remembered(file, "the addresses of services")
        self._clock = clock
        self._ids = ids
        self._given: dict[Claimant, str] = {}
        self._wanted: dict[Claimant, tuple[str, ...]] = {}
        self._moved = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()

    def want(self, wanted: Mapping[Claimant, tuple[str, ...]]) -> None:
        """Who wants to be given an address (), or has addresses of the network that are his own."""
        self._wanted = dict(wanted)
        self._done.clear()
        self._moved.set()

    async def given(self) -> None:
        """Return when everybody who wants an address has been given one."""
        await self._done.wait()

    async def run(self, sink: Sink) -> None:
        """Deliver what was remembered, then follow what is wanted until cancelled."""
        await self._deliver(sink, self._memory.read(_read) or {})
        sink.synced(self.name)
        while True:
            await self._moved.wait()
            self._moved.clear()
            found = assign(self._wanted, self._given)
            for id, own in self._wanted.items():
                if not own and id not in found:
                    said = {"host": id[0], "network": str(NETWORK)}
                    _log.warning("no address is free for a service", extra=said)
            if found != self._given:
                self._memory.write([[*id, found[id]] for id in sorted(found)])
                await self._deliver(sink, found)
            if not self._moved.is_set():
                self._done.set()

    async def _deliver(self, sink: Sink, found: dict[Claimant, str]) -> None:
        before, self._given = self._given, found
        changes = [self._change(id, None) for id in sorted(before.keys() - found.keys())]
        changes += [self._change(id, found[id]) for id in sorted(found) if before.get(id) != found[id]]
        if changes:
            await sink.apply(changes)

    def _change(self, id: Claimant, address: str | None) -> Change:
        host, namespace = id
        return Change(
            kind=ALLOCATED_ADDRESS.name,
            key=allocated_key(host, namespace),
            raw=None if address is None else allocated_object(host, namespace, address),
            origin=None,
            id=next(self._ids),
            at=self._clock.monotonic(),
            group=ALLOCATED_GROUP,
        )


def _read(listed: Any) -> dict[Claimant, str]:
    """What was given, of [host, namespace, address] each; nobody shares one because a file was edited."""
    found = {str(address): (str(host), str(namespace)) for host, namespace, address in listed}
    return {id: address for address, id in found.items() if is_ours(address)}
