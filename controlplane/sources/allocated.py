"""Virtual IPs for services that name none: who has which, remembered over restarts.

The graph says which hosts want an address; what they are given comes back as objects, in one batch.  With a
file the next process gives the same ones again, before anybody has asked; without one, nearly the same: an
address follows from the host's name, except where two names meet.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from controlplane.base.clock import Clock
from controlplane.model.allocation import NETWORK, Claimant, assign, is_ours
from controlplane.model.kinds.allocated_address import (
    ALLOCATED_ADDRESS,
    ALLOCATED_GROUP,
    allocated_key,
    allocated_object,
)
from controlplane.sources.change import Change, Sink

_log = logging.getLogger(__name__)


class AllocatedAddresses:
    """The source of AllocatedAddresses.

    `file` remembers them as JSON, [host, namespace, address] each; None = nothing is kept.  `ids` numbers
    changes.
    """

    name = "addresses"

    def __init__(self, file: Path | None, *, clock: Clock, ids: Iterator[int]) -> None:
        self._file = file
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
        await self._deliver(sink, self._remembered())
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
                self._keep(found)
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

    def _remembered(self) -> dict[Claimant, str]:
        if self._file is None:
            return {}
        try:
            listed = json.loads(self._file.read_bytes())
            found = {(str(host), str(namespace)): str(address) for host, namespace, address in listed}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            said = {"file": str(self._file), "reason": str(error)}
            _log.warning("the addresses of services cannot be read, and are given anew", extra=said)
            return {}
        # Nobody has two hosts at one address because somebody edited a file.
        return {id: one for one, id in {one: id for id, one in found.items() if is_ours(one)}.items()}

    def _keep(self, found: Mapping[Claimant, str]) -> None:
        """Write the file; a disk that is full costs a line in the log, not the addresses."""
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps([[*id, found[id]] for id in sorted(found)], indent=0))
            new.replace(self._file)
        except OSError as error:
            _log.warning("the addresses of services could not be kept", extra={"reason": error.strerror})
