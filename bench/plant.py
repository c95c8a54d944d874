"""The control plane in a process of its own, with instruments on it.

It is composed and run exactly as `mini-istiod discovery` does it, but for one thing: changes come from
memory, not from files, so that what is timed begins when a source hands a change over.  The
debounce time is 0.  The instruments hang on the observer that the xDS server offers, on the
graph's counters, on the collector's callbacks and on the loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import resource
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import uvloop

from bench import census
from bench.tally import Tally, instrumented
from controlplane import settings
from controlplane.app import compose
from controlplane.app.serve import collect_rarely, live
from controlplane.envoy import pb
from controlplane.lab.child import serve
from controlplane.lab.churn import mesh
from controlplane.sources.memory import MemorySource
from controlplane.telemetry import logs
from controlplane.telemetry.runtime import GcPauses, watch_loop

LAG_INTERVAL = 0.005
_QUIET = 0.05
"""Seconds without an event after which everything that follows from a change has happened."""
_LONGEST = 60
"""Seconds until that counts as a failure."""


class Content(Protocol):
    """A mesh that can be filled in: `churn.mesh.Mesh`, or another."""

    def objects(self) -> Iterator[mesh.Raw]:
        """Everything that there is in the beginning."""
        ...


def main(pipe: Pipe, address: str, size: Content, flags: tuple[str, ...] = (), trace: int = 0) -> None:
    """The process: serves `size` on `address`.  `trace` is how deep tracemalloc looks; 0 is not at all."""
    if trace:
        census.start(trace)
    run_loop(_serve(pipe, address, size, flags))


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """As the application runs its loop."""
    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(work)


def cpu_seconds() -> float:
    """Of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _serve(pipe: Pipe, address: str, size: Content, flags: tuple[str, ...]) -> None:
    logs.configure("warning", "text")
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant(size, settings_for(Path(folder), address, flags))
        stop = asyncio.Event()
        life = asyncio.create_task(live(plant.app, stop))
        try:
            await serve(pipe, plant.answer)
        finally:
            stop.set()
            plant.end()
            await life


def settings_for(folder: Path, address: str, flags: tuple[str, ...]) -> settings.Settings:
    """What `mini-istiod discovery` would be told, with a debounce time of 0."""
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    argv = [
        *("--config-dir", str(folder)),
        *("--grpc-addr", address),
        *("--monitoring-addr", "127.0.0.1:0"),
        *("--debounce-after", "0s"),
        *("--max-connection-age", "0"),
        *("--drain-duration", "0s"),
        *flags,
    ]
    return settings.from_args(parser.parse_args(argv), {})


class _Spent(NamedTuple):
    """What the process had used."""

    cpu: float
    runs: int
    queries: Counter[str]


class Plant:
    """The application, and the questions about it."""

    def __init__(self, size: Content, chosen: settings.Settings) -> None:
        self.tally = Tally()
        self._size = size
        self._source = MemorySource("benchmark")
        vars(compose)["Deferred"] = instrumented(self.tally)
        self.app = compose.build(chosen)
        self.app.sources = (*self.app.sources, self._source)
        self._pauses = GcPauses(lambda generation, seconds: self.tally.pauses.append(seconds))
        self._pauses.start()
        self._watch: asyncio.Task[None] | None = None
        self._before = _Spent(0.0, 0, Counter())
        self._count_serialisations()

    def end(self) -> None:
        self._pauses.stop()
        if self._watch is not None:
            self._watch.cancel()

    async def answer(self, op: str, arguments: dict[str, Any]) -> Any:
        """One question of the parent: see the methods named `do_…`."""
        if self._watch is None:
            watching = watch_loop(self.app.clock, lambda lag: self.tally.lags.append(lag), LAG_INTERVAL)
            self._watch = asyncio.create_task(watching)
        return await getattr(self, f"do_{op}")(**arguments)

    async def do_fill(self) -> dict[str, float]:
        """Load the mesh; gives the seconds and the parsed objects.  No proxy is served before."""
        await self.app.ingest.wait_synced()
        objects = list(self._size.objects())
        cpu, began = cpu_seconds(), time.monotonic()
        self._source.put(*objects)
        await self._source.delivered()
        await self.app.debouncer.settled()
        return {
            "objects": len(objects),
            "seconds": time.monotonic() - began,
            "cpu": cpu_seconds() - cpu,
        }

    async def do_change(self, raw: mesh.Raw) -> dict[str, Any]:
        """Make one change and wait until nothing follows from it any more."""
        await self.do_watch()
        began = time.monotonic()
        self._source.put(raw)
        await self._source.delivered()
        await self.app.debouncer.settled()
        return await self.do_spent(began)

    async def do_spent(self, began: float, quiet: float = _QUIET) -> dict[str, Any]:
        """What followed since `watch` from a change at `began`: to its end, so many seconds of nothing."""
        async with asyncio.timeout(_LONGEST):
            # A source may take its time.
            while not self.tally.settled:  # noqa: ASYNC110
                await asyncio.sleep(_QUIET)
        await self._quiet(quiet)
        # What the observer put off is work of the push as well.
        self.app.trace.on_read()
        tally, counters, before = self.tally, self.app.graph.counters, self._before
        return {
            "began": began,
            "committed": tally.committed - began,
            "settled": tally.settled - began,
            "first_write": tally.first_write - began if tally.first_write else None,
            "last_write": tally.last_write - began if tally.last_write else None,
            "last_ack": tally.last_ack - began if tally.last_ack else None,
            "planned": tally.planned,
            "cpu": cpu_seconds() - before.cpu,
            "runs": counters.runs - before.runs,
            "queries": dict(Counter(counters.by_query) - before.queries),
            "serialised": tally.serialised,
            "sent": dict(tally.sent),
            "bytes": dict(tally.bytes),
            "size": tally.size,
            "echoes": tally.echoes,
            "refused": tally.refused,
            "lag": max(tally.lags, default=0.0),
            "pauses": list(tally.pauses),
        }

    async def do_put(self, raw: mesh.Raw) -> None:
        """Make one change and wait for nothing."""
        self._source.put(raw)

    async def do_watch(self) -> None:
        """Begin to note anew."""
        self.tally.reset()
        counters = self.app.graph.counters
        self._before = _Spent(cpu_seconds(), counters.runs, Counter(counters.by_query))

    async def do_seen(self) -> dict[str, Any]:
        """What was noted since `watch`."""
        await self._quiet()
        tally = self.tally
        return {
            "lags": list(tally.lags),
            "pauses": list(tally.pauses),
            "sent": dict(tally.sent),
            "size": tally.size,
            "echoes": tally.echoes,
            "planned": tally.planned,
        }

    async def do_state(self) -> dict[str, Any]:
        """How large everything is."""
        graph = self.app.graph
        return {
            "streams": len(self.app.xds.streams),
            "nodes": graph.size(),
            "runs": graph.counters.runs,
            "cpu": cpu_seconds(),
            **census.sizes(),
        }

    async def do_census(self) -> dict[str, Any]:
        """Where the memory is: by type of object, and by module that allocated it when traced."""
        return census.census()

    async def do_collect(self) -> None:
        """Free what can be freed, so that sizes compare."""
        gc.collect()

    async def _quiet(self, seconds: float = _QUIET) -> None:
        """Return when no response is open and nothing has happened for a while."""
        tally = self.tally
        deadline = time.monotonic() + _LONGEST
        while True:
            before = (tally.last_ack, sum(tally.sent.values()))
            await asyncio.sleep(seconds)
            if tally.open <= 0 and before == (tally.last_ack, sum(tally.sent.values())):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{tally.open} responses are not answered")

    def _count_serialisations(self) -> None:
        serialise = pb.deterministic

        def counted(message: Any) -> bytes:
            self.tally.serialised += 1
            return serialise(message)

        pb.deterministic = counted
