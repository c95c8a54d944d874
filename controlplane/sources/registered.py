"""Machines that join by connecting: a WorkloadEntry for each, as long as its proxy is connected.

Who comes back within the grace period has never left: an Envoy that is started anew, or a control plane that
is.  For the latter what was delivered is kept in a file, if there is a place for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.base.clock import Clock, sleep_unless
from controlplane.model.keys import Key
from controlplane.model.kinds.workload_entry import WORKLOAD_ENTRY
from controlplane.model.kinds.workload_group import WorkloadGroup
from controlplane.model.problem import Problem
from controlplane.model.proxy import Proxy
from controlplane.model.registration import entry_key, entry_of, group_of, refusal
from controlplane.sources.change import Change, Sink
from controlplane.sources.remembered import Remembered

GRACE = 10.0
"""Seconds for which the entry of a machine outlives its last connection."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Member:
    """A machine; `streams` are open, `until` is when it counts as gone if none is."""

    proxy: Proxy
    group: Key
    streams: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Told:
    """What the sink was told: objects by key, and the groups with somebody who may not join."""

    entries: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    refused: dict[Key, tuple[Problem, ...]] = field(default_factory=dict)


class Registrations:
    """The source of WorkloadEntries of machines that connect.

    `file` keeps them over a restart as a JSON list, None = nothing is kept; `ids` numbers changes.
    """

    name = "registered"

    def __init__(self, file: Path | None, *, clock: Clock, ids: Iterator[int]) -> None:
        self._memory = Remembered(file, "the machines that had joined")
        self._clock = clock
        self._ids = ids
        self._groups: dict[Key, WorkloadGroup] = {}
        self._members: dict[Key, _Member] = {}
        # From before a restart: whose proxies have not come back yet, and until when they may.
        self._awaited: dict[Key, Mapping[str, Any]] = {}
        self._awaited_until = 0.0
        self._told = _Told()
        self._moved = asyncio.Event()

    def groups(self, groups: Mapping[Key, WorkloadGroup]) -> None:
        """The groups that there are."""
        self._groups = dict(groups)
        self._moved.set()

    def arrived(self, proxy: Proxy) -> None:
        """A stream of this proxy has opened."""
        group = group_of(proxy)
        if group is None:
            return
        if group not in self._groups:
            said = {"proxy": proxy.id, "group": f"{group.namespace}/{group.name}"}
            _log.warning("a proxy asks to join a WorkloadGroup that there is not", extra=said)
        key = entry_key(proxy, group)
        member = self._members.setdefault(key, _Member(proxy, group))
        member.proxy = proxy
        member.streams += 1
        self._awaited.pop(key, None)
        self._moved.set()

    def left(self, proxy: Proxy) -> None:
        """A stream of this proxy has ended."""
        group = group_of(proxy)
        member = None if group is None else self._members.get(entry_key(proxy, group))
        if member is not None:
            member.streams -= 1
            member.until = self._clock.monotonic() + GRACE
            self._moved.set()

    async def run(self, sink: Sink) -> None:
        """Deliver what was kept, then follow who comes and goes until cancelled."""
        self._awaited = self._memory.read(_read) or {}
        self._awaited_until = self._clock.monotonic() + GRACE
        await self._deliver(sink, dict(self._awaited))
        sink.synced(self.name)
        while True:
            pause = self._forget()
            await self._tell(sink)
            if pause is None:
                await self._moved.wait()
            else:
                await sleep_unless(self._clock, pause, self._moved)
            self._moved.clear()

    def _forget(self) -> float | None:
        """Drop who is gone for good; seconds until the next one may be, None where all are here."""
        now = self._clock.monotonic()
        if self._awaited and now >= self._awaited_until:
            self._awaited = {}
        for key in [key for key, one in self._members.items() if one.streams <= 0 and one.until <= now]:
            del self._members[key]
        ends = [one.until for one in self._members.values() if one.streams <= 0]
        if self._awaited:
            ends.append(self._awaited_until)
        return min(ends) - now if ends else None

    async def _tell(self, sink: Sink) -> None:
        entries = dict(self._awaited)
        refused: dict[Key, list[Problem]] = {}
        for key in sorted(self._members):
            member = self._members[key]
            group = self._groups.get(member.group)
            why = "" if group is None else refusal(member.proxy, group)
            if group is not None and not why:
                entries[key] = entry_of(member.proxy, group)
            elif group is not None:
                refused.setdefault(member.group, []).append(_refused(member, why))
        self._report(sink, {key: tuple(found) for key, found in refused.items()})
        await self._deliver(sink, entries)

    def _report(self, sink: Sink, refused: dict[Key, tuple[Problem, ...]]) -> None:
        for key in sorted(self._told.refused.keys() | refused.keys()):
            found = refused.get(key, ())
            if found != self._told.refused.get(key, ()):
                sink.report(f"{self.name}:{key.namespace}/{key.name}", found)
        self._told.refused = refused

    async def _deliver(self, sink: Sink, entries: dict[Key, Mapping[str, Any]]) -> None:
        before, self._told.entries = self._told.entries, entries
        changes = [self._change(key, None) for key in sorted(before.keys() - entries.keys())]
        changes += [
            self._change(key, entries[key]) for key in sorted(entries) if before.get(key) != entries[key]
        ]
        if changes:
            self._memory.write([entries[key] for key in sorted(entries)])
            await sink.apply(changes)

    def _change(self, key: Key, raw: Mapping[str, Any] | None) -> Change:
        now = self._clock.monotonic()
        return Change(WORKLOAD_ENTRY.name, key, raw, None, next(self._ids), now, WORKLOAD_ENTRY.group)


def _read(listed: Any) -> dict[Key, Mapping[str, Any]]:
    """The entries that were kept, by key."""
    named = ((one["metadata"], one) for one in listed)
    return {Key(str(meta["namespace"]), str(meta["name"])): one for meta, one in named}


def _refused(member: _Member, why: str) -> Problem:
    return Problem(
        level="warning",
        kind="WorkloadGroup",
        namespace=member.group.namespace,
        name=member.group.name,
        file="",
        line=None,
        field="spec.template.serviceAccount",
        message=f"proxy {member.proxy.id} asks to join and may not: it {why}",
        remedy="run it with a token or certificate of that service account",
    )
