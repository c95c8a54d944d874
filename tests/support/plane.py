"""A control plane in the test's own process: the real one, on a real socket, with all its tasks."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane import settings
from controlplane.app.compose import App, build
from controlplane.app.serve import live
from controlplane.envoy.bootstrap import Node
from controlplane.lab.client import Client, Protocol, Received, channel, short
from controlplane.xds.feed import NOTHING, UNSETTLED
from controlplane.xds.session import Session
from controlplane.xds.variant import REMOVALS, Removal
from tests.support.files import MeshFiles
from tests.support.waiting import until


@dataclass
class Served:
    """A running control plane, its watched directory, and the clients that were connected to it."""

    app: App
    files: MeshFiles
    address: str
    clients: dict[str, Client] = field(default_factory=dict)
    envoys: int = 0
    """How many streams there are besides those of the clients."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def connect(self, client: Client, name: str = "", window: int | None = None) -> Client:
        """Run a client's stream in the background; one that breaks fails the test at the next `quiet`."""
        name = name or f"{client.node.name}/{client.protocol}"
        assert name not in self.clients
        self.clients[name] = client
        self._tasks[name] = asyncio.create_task(self._run(client, window), name=name)
        return client

    async def disconnect(self, name: str) -> Client:
        """End a client's stream; the client keeps its state and may be connected again."""
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.clients.pop(name)

    async def quiet(self, seconds: float = 20.0) -> None:
        """Return when every edit so far was read, and every client has answered all that it gave rise to."""
        await self.taken_in(seconds)
        await until(self._idle, self._busy, seconds)

    async def taken_in(self, seconds: float = 20.0) -> None:
        """Return when every edit so far was read, committed and settled."""
        await until(self._read, self._unread, seconds)
        # Of a large file some objects are read before anything of it is written: that ends first.
        await self.app.ingest.apply(())
        await self.app.debouncer.settled()
        await self.app.settler.settled(self.app.graph.revision)

    @contextmanager
    def responses(self) -> Iterator[dict[str, list[str]]]:
        """What each client was sent inside the block: "rds 9080 8080", one string per response."""
        before = {name: len(client.log) for name, client in self.clients.items()}
        found: dict[str, list[str]] = {}
        yield found
        for name, client in self.clients.items():
            found[name] = [told(one) for one in client.log[before.get(name, 0) :]]

    async def _run(self, client: Client, window: int | None) -> None:
        async with channel(self.address, window=window) as connection:
            await client.run(connection)

    def _read(self) -> bool:
        held = {one.name: one.value for one in self.app.ingest.objects() if one.used and one.origin}
        return held == self.files.valid

    def _unread(self) -> str:
        held = {one.name: one.value for one in self.app.ingest.objects() if one.used}
        wrong = sorted(
            n for n in held.keys() | self.files.valid.keys() if held.get(n) != self.files.valid.get(n)
        )
        return f"not as in the files: {', '.join(map(str, wrong))}"

    def _idle(self) -> bool:
        for name, task in self._tasks.items():
            assert not task.done(), f"the stream of {name} ended: {task}"
        return not self._busy()

    def _busy(self) -> str:
        """What is under way between the control plane and its clients; "" when nothing is."""
        streams = self.app.xds.streams
        if len(streams) != len(self.clients) + self.envoys:
            return f"{len(streams)} streams of {len(self.clients)} clients and {self.envoys} Envoys"
        # A stream and its view come and go together.  By proxy they are not to be told apart.
        busy = [
            f"{stream.connection.id} ({found})"
            for stream, view in zip(streams, self.app.views.views, strict=True)
            if stream.connection.proxy.id not in self._stalled
            and (found := _owed(stream.session, view.feeds))
        ]
        lacking = [
            name for name, one in self.clients.items() if not one.stalled and (one.lacks or not one.log)
        ]
        return ", ".join([*busy, *(f"{name} lacks something" for name in lacking)])

    @property
    def _stalled(self) -> set[str]:
        nodes = [one.node for one in self.clients.values() if one.stalled]
        return {f"{node.name}.{node.namespace}" for node in nodes}

    async def close(self) -> None:
        for name in list(self.clients):
            await self.disconnect(name)


@asynccontextmanager
async def serving(directory: Path, *flags: str, wait: bool = True) -> AsyncIterator[Served]:
    """A control plane on `directory`/config; leaving ends it and raises whatever went wrong in it."""
    files = MeshFiles(directory / "config")
    async with serving_files(files, directory / "xds.sock", *flags, wait=wait) as served:
        yield served


@asynccontextmanager
async def serving_files(
    files: MeshFiles, socket: Path, *flags: str, wait: bool = True
) -> AsyncIterator[Served]:
    """The same on a directory that is already there."""
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    address = f"unix:{socket}"
    args = [
        *("--config-dir", str(files.directory)),
        *("--grpc-addr", address),
        *("--monitoring-addr", "127.0.0.1:0"),
        # Short, because a test edits once and waits; long enough to take an edit of two files as one.
        *("--debounce-after", "20ms"),
        *("--drain-duration", "0s"),
        *flags,
    ]
    app = build(settings.from_args(parser.parse_args(args), {}))
    stop = asyncio.Event()
    running = asyncio.create_task(live(app, stop), name="control plane")
    served = Served(app, files, address)
    # A test's mistakes are told by the hundred; what fails is to be seen among them.
    problems = logging.getLogger("controlplane.store.problems")
    problems.disabled = True
    try:
        if wait:
            await until(lambda: running.done() or not app.unready(), app.unready)
        yield served
    finally:
        problems.disabled = False
        await served.close()
        stop.set()
        await running


def _owed(session: Session, feeds: Mapping[str, Any]) -> str:
    """What keeps a stream from rest."""
    for sub in session.subscriptions.values():
        short = sub.spec.short
        sub.ledger.refresh()
        if sub.feed is not feeds.get(sub.spec.url, NOTHING) or sub.ledger.revision == UNSETTLED:
            return f"its {short} feed is on the way"
        if sub.pending:
            return f"{len(sub.pending)} {short} responses unanswered"
        if sub.changed or sub.retry:
            return f"{short} to be sent"
        # What a client drops by itself, when its listeners are drained, is taken from it much later.
        if sub.leaving and REMOVALS[sub.spec.url] is not Removal.LATE:
            return f"{short} to be removed"
    return ""


def told(response: Received) -> str:
    """A response in short: "rds 80", "cds a b -c" (c is removed), names sorted."""
    names = [*sorted(response.names), *(f"-{name}" for name in sorted(response.removed))]
    return " ".join([short(response.type_url), *names])


def client(
    name: str, namespace: str = "default", protocol: Protocol = "DELTA_GRPC", number: int = 1, **labels: str
) -> Client:
    """A synthetic sidecar: of pod `name`, at 10.0.0.`number`."""
    node = Node(ip=f"10.0.0.{number}", name=name, namespace=namespace, labels=labels or {"app": name})
    return Client(node, protocol)
