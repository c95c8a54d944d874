"""`python -m bench.push_path`: what our own code costs for each proxy that an endpoint change goes to.

No gRPC, no sockets, no clients: the control plane is composed as always, and its streams are driven over
calls that are made of futures.  A write is done at the next turn of the loop, and then the acknowledgement
arrives.  The same calls with nothing between them are the floor.  Microseconds of CPU of the loop's thread
for each proxy; *put off* is the accounting that is done when the push is over.  The first line of figures
is to be compared between two states of the code: it moves less than any latency does.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf import json_format

from bench import figures
from bench.plant import Plant, run_loop, settings_for
from controlplane.app.serve import live
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.client import references
from controlplane.model.caller import Door
from controlplane.xds.server import _Asked
from controlplane.xds.variant import Variant

_ASKED = _Asked(Door.PLAINTEXT, Variant.DELTA, "")
_FOLLOWS = {CLUSTER: ENDPOINT, LISTENER: ROUTE}
_WARM_UP = 3
_PAUSE, _TURN = 0.05, 0.001


class FakeCall:
    """One stream's transport: what is put in is read, and what is written is shown to `answer`."""

    def __init__(self, answer: Callable[[FakeCall, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.put = self._inbox.put_nowait
        self.read = self._inbox.get

    def peer(self) -> str:
        return "memory"

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def write(self, data: bytes) -> None:
        done = self._loop.create_future()
        self._loop.call_soon(self._taken, done, data)
        await done

    def _taken(self, done: asyncio.Future[None], data: bytes) -> None:
        done.set_result(None)
        self._answer(self, data)


class _Clients:
    """They answer every response and ask for what follows from it; equal responses are looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[bytes]] = {}

    def answer(self, call: FakeCall, data: bytes) -> None:
        requests = self._known.get(data)
        if requests is None:
            requests = self._known[data] = _requests(data)
        for request in requests:
            call.put(request)


def _requests(data: bytes) -> list[bytes]:
    response = pb.discovery.DeltaDiscoveryResponse.FromString(data)
    url = response.type_url
    requests = [_request(url, nonce=response.nonce)]
    if url in _FOLLOWS:
        names = {ref for one in response.resources for ref in references(url, one.resource.value)}
        requests.append(_request(_FOLLOWS[url], sorted(names)))
    return requests


def _request(url: str, names: list[str] | None = None, nonce: str = "", node: Any = None) -> bytes:
    request = pb.discovery.DeltaDiscoveryRequest(
        type_url=url, resource_names_subscribe=names or (), response_nonce=nonce
    )
    if node is not None:
        json_format.ParseDict(node.as_json(), request.node)
    data: bytes = request.SerializeToString()
    return data


async def measure(proxies: int, rounds: int) -> dict[str, figures.Summary]:
    """Microseconds for each proxy, by what they are spent on."""
    size = Mesh(services=1000, namespaces=10)
    with TemporaryDirectory() as folder:
        plane = Plant(size, settings_for(Path(folder), f"unix:{folder}/xds", ()))
        stop = asyncio.Event()
        life = asyncio.create_task(live(plane.app, stop))
        try:
            await plane.do_fill()
            tasks = await _connect(plane, size, proxies)
            spent = [await _round(plane, size, n + 1, proxies) for n in range(_WARM_UP + rounds)]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        finally:
            stop.set()
            plane.end()
            await life
    return {
        what: figures.summary((one[what] for one in spent[_WARM_UP:]), 1e6 / proxies) for what in spent[0]
    }


async def _connect(plane: Plant, size: Mesh, proxies: int) -> list[asyncio.Task[None]]:
    clients = _Clients()
    calls = [FakeCall(clients.answer) for _ in range(proxies)]
    for number, call in enumerate(calls):
        call.put(_request(CLUSTER, node=size.node(number)))
        call.put(_request(LISTENER))
    tasks = [asyncio.create_task(plane.app.xds._handle(_ASKED, call)) for call in calls]
    # Nothing tells that nothing more will come.
    while len(plane.app.xds.streams) < proxies:  # noqa: ASYNC110
        await asyncio.sleep(_PAUSE)
    await plane.do_seen()
    gc.collect()
    gc.freeze()
    return tasks


async def _round(plane: Plant, size: Mesh, number: int, proxies: int) -> dict[str, float]:
    tally = plane.tally
    tally.reset()
    began = time.thread_time()
    await plane.do_put(size.slice(5, number))
    while sum(tally.sent.values()) < proxies or tally.open:  # noqa: ASYNC110
        await asyncio.sleep(_TURN)
    pushed = time.thread_time()
    plane.app.trace.on_read()
    told = time.thread_time()
    return {"push": pushed - began, "put off": told - pushed, "floor": await _floor(proxies)}


async def _floor(proxies: int) -> float:
    """The same futures and tasks, with nothing between them."""
    loop = asyncio.get_running_loop()
    turns = [loop.create_future() for _ in range(proxies)]
    began = time.thread_time()
    calls = [FakeCall(lambda call, data: call.put(data)) for _ in turns]
    tasks: list[asyncio.Task[Any]] = [loop.create_task(call.read()) for call in calls]
    tasks += [loop.create_task(_write(call, turn)) for call, turn in zip(calls, turns, strict=True)]
    for turn in turns:
        loop.call_soon(turn.set_result, None)
    await asyncio.wait(tasks)
    return time.thread_time() - began


async def _write(call: FakeCall, turn: asyncio.Future[None]) -> None:
    await turn
    await call.write(b"response")


def main(proxies: int, rounds: int) -> None:
    """Measure and print."""

    async def work() -> None:
        found = await measure(proxies, rounds)
        shown = [(what, *(one[part] for part in ("min", "p50", "p90"))) for what, one in found.items()]
        print(figures.table(("us for each proxy", "least", "p50", "p90"), shown))

    run_loop(work())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.push_path", description=__doc__.split("\n")[0])
    parser.add_argument("--proxies", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    main(chosen.proxies, chosen.rounds)
