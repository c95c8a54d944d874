"""`mini-istiod replay FILE`: a recording is played through the parts of a control plane, in virtual time.

Ingest, debouncer, graph, views and sessions are those of the server.  Time is that of the recording and
passes as fast as the CPU allows; every recorded proxy subscribes and accepts at once.  What comes out is a
hash over every byte of every response, the same on every machine, and what it cost here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.app.features import settle_features
from controlplane.app.findings import Findings
from controlplane.app.key_sets import settle_who_fetches
from controlplane.app.replay_result import Result
from controlplane.app.replay_streams import Stream, Streams
from controlplane.app.spine import Spine, spine
from controlplane.app.watchers import Watcher
from controlplane.base import parse, virtual
from controlplane.base.errors import MiniIstiodError
from controlplane.mesh.checks import checks
from controlplane.sources.recorded import (
    Applied,
    Asked,
    Connected,
    Ended,
    Event,
    Gone,
    Recording,
    Rejected,
    Reported,
    Synced,
)
from controlplane.sources.recording import Header
from controlplane.store.debounce import Batch, Timing
from controlplane.xds.options import Pace
from controlplane.xds.settle import Settled
from controlplane.xds.status import config_dump

REST = 60.0
"""Seconds after the recording's end in which what is under way is brought to an end."""
_MOMENT = 1e-4
"""Seconds after which those who were told of something have had their turn."""


@dataclass(frozen=True, slots=True)
class Options:
    """`until`: stop at this second; `proxy`: count and dump this one only; `dump`: the folder to write to."""

    file: Path
    until: float | None = None
    proxy: str = ""
    dump: Path | None = None


def replay(options: Options) -> Result:
    """Play a recording; raises `RecordingError` for a file that cannot be played."""
    began = time.process_time()
    with Recording(options.file) as recording:
        if options.dump is not None:
            # Before anything is played: a mistake costs nothing.
            _made(options.dump)
        try:
            result = virtual.run(_Replay(options, recording).play())
        except BaseExceptionGroup as group:
            raise _told(group) from None
    result.cpu_seconds = time.process_time() - began
    return result


def _made(folder: Path) -> None:
    try:
        parse.made_directory(folder)
    except ValueError as error:
        raise MiniIstiodError(f"--dump: {str(folder)!r} cannot be used: {error}") from error


def _told(error: BaseException) -> BaseException:
    """What there is to say of errors of several tasks: the one that is meant for the user, if any."""
    group = error.subgroup(MiniIstiodError) if isinstance(error, BaseExceptionGroup) else None
    return error if group is None else _told(group.exceptions[0])


class _Clocked(Watcher):
    """Tells the streams of a settle, and takes its time: the CPU's, whatever else the machine does."""

    def __init__(self, core: Spine, result: Result) -> None:
        self._core = core
        self._result = result
        self._committed: list[float] = []

    def committed(self, revision: int, batch: Batch) -> None:
        self._result.batches += 1
        self._committed.append(time.process_time())

    def settled(self, outcome: Settled) -> None:
        if outcome.committed:
            now = time.process_time()
            self._result.compute.extend(now - at for at in self._committed)
            self._committed.clear()
        if outcome.sliced:
            self._core.views.stir_all()
        self._core.views.tell()


class _Replay:
    """One run; made outside of the loop, played inside."""

    def __init__(self, options: Options, recording: Recording) -> None:
        self._options = options
        self._recording = recording
        self._result = Result(recording.header)

    async def play(self) -> Result:
        header, result = self._recording.header, self._result
        clock = virtual.VirtualClock(virtual.running(), header.started)
        on_demand = bool(header.settings.get("on_demand_virtual_hosts", False))
        core = spine(clock, _timing(header), header.sources, on_demand=on_demand)
        settle_who_fetches(core.graph, str(header.settings.get("jwt_enable_remote_jwks", "istiod")))
        settle_features(core.graph, header.settings)
        core.watch(_Clocked(core, result))
        core.views.ready = True
        streams = Streams(core.views, clock, _pace(header), self._options.proxy, on_demand=on_demand)
        # A server looks for problems between objects all the time: it is part of what a change costs.
        findings = Findings(core.graph.lease(checks), core.ingest)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(core.settler.run()), tasks.create_task(core.debouncer.run())]
            await self._feed(core, streams, clock)
            result.seconds = clock.monotonic() if self._options.until is None else self._options.until
            for stream in streams.open.values():
                self._dump(stream, streams)
            problems = (*core.ingest.problems(), *findings.problems())
            self._dump_list("problems.json", [problem.as_json() for problem in problems])
            self._dump_list("rejections.json", result.rejections)
            streams.close()
            for task in running:
                task.cancel()
        findings.close()
        core.views.close()
        self._close(core, streams)
        return result

    async def _feed(self, core: Spine, streams: Streams, clock: virtual.VirtualClock) -> None:
        until = self._options.until
        for event in self._recording.events():
            if until is not None and event.t > until:
                break
            await clock.sleep(event.t - clock.monotonic())
            self._result.events += 1
            await self._happen(event, core, streams)
            if isinstance(event, Ended):
                self._result.ended = event.reason
        if until is None:
            await self._rest(core, streams, clock)
        else:
            # Time stands still until everything that was due at that moment is done.
            await clock.sleep(until + _MOMENT - clock.monotonic())

    async def _happen(self, event: Event, core: Spine, streams: Streams) -> None:
        if isinstance(event, Applied):
            self._result.changes += len(event.changes)
            await core.ingest.apply(event.changes)
        elif isinstance(event, Reported):
            core.ingest.report(event.where, event.problems)
        elif isinstance(event, Synced):
            core.ingest.synced(event.source)
        elif isinstance(event, Connected):
            self._result.connections += 1
            streams.connect(event)
        elif isinstance(event, Asked):
            streams.ask(event)
        elif isinstance(event, Rejected):
            self._result.rejections.append(event._asdict())
        elif isinstance(event, Gone):
            stream = streams.open.get(event.connection)
            if stream is not None:
                self._dump(stream, streams)
                streams.disconnect(event.connection)

    async def _rest(self, core: Spine, streams: Streams, clock: virtual.VirtualClock) -> None:
        """Let what is under way come to its end."""
        end = clock.monotonic() + REST
        await core.debouncer.settled()
        await core.settler.settled(core.graph.revision)
        await clock.sleep(_MOMENT)
        while (deadline := streams.deadline) is not None and deadline <= end:
            await clock.sleep(deadline + _MOMENT - clock.monotonic())

    def _dump(self, stream: Stream, streams: Streams) -> None:
        folder = self._options.dump
        if folder is None or not streams.counted(stream):
            return
        name = f"{stream.connection.proxy.id}.{stream.connection.variant.value}.json"
        found = json.dumps(config_dump(stream), indent=2, sort_keys=True)
        (folder / name.replace("/", "_")).write_text(f"{found}\n")

    def _dump_list(self, name: str, found: Sequence[Mapping[str, Any]]) -> None:
        folder = self._options.dump
        if folder is not None:
            (folder / name).write_text(f"{json.dumps(found, indent=2)}\n")

    def _close(self, core: Spine, streams: Streams) -> None:
        result, tally = self._result, streams.tally
        only = self._options.proxy
        if only and not tally.responses:
            known = ", ".join(sorted(streams.seen)[:20]) or "none"
            raise MiniIstiodError(f"--proxy: {only!r} did not connect; recorded are {known}")
        result.revision = core.graph.revision
        result.failed_queries = core.graph.counters.failed
        result.proxies = len(streams.seen)
        result.sha256 = tally.digest()
        result.responses, result.bytes = tally.responses, tally.size
        result.plan_seconds = tally.seconds


def _timing(header: Header) -> Timing:
    defaults = Timing()
    given = header.settings
    return Timing(
        after=_number(given, "debounce_after", defaults.after),
        max=_number(given, "debounce_max", defaults.max),
        endpoints_wait=bool(given.get("eds_debounce", defaults.endpoints_wait)),
        adaptive=bool(given.get("debounce_adaptive", defaults.adaptive)),
    )


def _pace(header: Header) -> Pace:
    return Pace(ack_deadline=_number(header.settings, "ack_deadline", Pace().ack_deadline))


def _number(settings: Mapping[str, Any], name: str, default: float) -> float:
    found = settings.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        raise MiniIstiodError(f"the recording's settings: {name}: expected seconds, found {found!r}")
    return float(found)
