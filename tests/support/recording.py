"""Records a real control plane under churn, and replays what it recorded in other processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.app.replay import Options, replay
from controlplane.app.replay_result import Result
from controlplane.app.replay_streams import Stream, Streams
from controlplane.lab.client import Client, Protocol, channel
from tests.support.edits import Editor
from tests.support.plane import client
from tests.support.process import Process, started

NAMES, NAMESPACES = ("web", "api"), ("front", "back", "vault")
PROTOCOLS: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")
Views = dict[str, dict[str, bytes]]
"""Bytes by type URL and name."""

ALTERED = "import controlplane.envoy.routes_actions as actions; actions._HOST_SELECTION_ATTEMPTS = 6; "
"""A change of the code that alters what is served: how often a retry looks for another host."""


@dataclass
class Recorded:
    """A recording, and what the clients that were there had in the end."""

    path: Path
    edits: int
    clients: dict[tuple[str, str], Views] = field(default_factory=dict)
    """By proxy id and variant ("delta" or "sotw")."""


async def record(directory: Path, seconds: float, pause: float, seed: int = 1) -> Recorded:
    """Twelve proxies on a `mini-istiod discovery --record`, an edit every `pause` seconds.

    Now and then one of the proxies leaves and comes back with what it had.
    """
    path = directory / "record.jsonl.gz"
    rng = random.Random(seed)
    with started(directory, "--record", str(path), "--debounce-after", "20ms") as plane:
        editor = Editor(plane.files, seed, mistakes=False)
        editor.begin()
        plane.wait_ready()
        async with _clients(plane.address) as clients:
            loop = asyncio.get_running_loop()
            end = loop.time() + seconds
            while loop.time() < end:
                editor.edit()
                if rng.random() < 0.05:
                    await clients.renew(rng.choice(sorted(clients.running)))
                await asyncio.sleep(pause)
            await clients.quiet(plane)
            found = Recorded(path, len(editor.history), clients.views())
            # It goes first, so that nobody's end is part of the churn.
            assert plane.end() == 0
    return found


def play(path: Path, hash_seed: str, *arguments: str, before: str = "") -> dict[str, Any]:
    """`mini-istiod replay` in a process of its own; `before` is code that it runs first."""
    code = f"{before}import sys; from controlplane.app.commands import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, "replay", str(path), "--json", *arguments]
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, env=environ, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def final(path: Path, monkeypatch: Any) -> tuple[Result, dict[tuple[str, str], Views]]:
    """Replay here; the result, and what every proxy had when it left or at the end."""
    has: dict[tuple[str, str], Views] = {}
    disconnect = Streams.disconnect

    def noted(streams: Streams, connection: str) -> Stream | None:
        stream = disconnect(streams, connection)
        if stream is not None:
            key = (stream.connection.proxy.id, stream.connection.variant.value)
            has[key] = {
                url: {name: one.body for name, one in found.items()}
                for url, found in stream.envoy.has.items()
            }
        return stream

    monkeypatch.setattr(Streams, "disconnect", noted)
    return replay(Options(path)), has


class _Clients:
    """Twelve clients and their streams."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.running: dict[tuple[str, str], tuple[Client, asyncio.Task[None]]] = {}

    def connect(self, one: Client) -> None:
        key = (f"{one.node.name}.{one.node.namespace}", "delta" if "DELTA" in one.protocol else "sotw")
        self.running[key] = (one, asyncio.create_task(self._run(one)))

    async def renew(self, key: tuple[str, str]) -> None:
        one, task = self.running.pop(key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.connect(one)

    async def quiet(self, plane: Process) -> None:
        """Return when all proxies have what they are to have and nothing comes any more."""
        async with asyncio.timeout(60):
            still = 0
            before: list[int] = []
            while still < 10:
                await asyncio.sleep(0.06)
                now = [len(one.log) for one, _ in self.running.values()]
                state = await asyncio.to_thread(plane.get, "/debug/push_status")
                waiting = sum(one["waiting"] for one in state.json["types"].values())
                still = 0 if waiting or now != before else still + 1
                before = now

    def views(self) -> dict[tuple[str, str], Views]:
        return {key: one.views() for key, (one, _) in self.running.items()}

    async def _run(self, one: Client) -> None:
        async with channel(self.address) as connection:
            await one.run(connection)


@asynccontextmanager
async def _clients(address: str) -> AsyncIterator[_Clients]:
    clients = _Clients(address)
    number = 1
    for name in NAMES:
        for namespace in NAMESPACES:
            for protocol in PROTOCOLS:
                number += 1
                clients.connect(client(f"{name}-{number}", namespace, protocol, number=number, app=name))
    try:
        yield clients
    finally:
        tasks = [task for _, task in clients.running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
