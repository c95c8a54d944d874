"""What gRPC alone costs: a server that writes given bytes to every stream and counts the answers.

The first message of a stream names its scope; all streams of a scope are written the same bytes.  It runs
on the same event loop, with the same grpc.aio options, as the control plane, and does nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

import grpc

from bench.plant import cpu_seconds, run_loop
from controlplane.lab.child import serve

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 100_000),
)


def main(pipe: Pipe, address: str) -> None:
    """The process: listens on `address` until the parent hangs up."""
    run_loop(_serve(pipe, address))


async def _serve(pipe: Pipe, address: str) -> None:
    loop = Bare()
    await loop.start(address)
    gc.freeze()
    try:
        await serve(pipe, loop.answer)
    finally:
        await loop.server.stop(0)


class Bare:
    """The streams, and one round at a time.  See `fanout` for the two ways of writing."""

    def __init__(self) -> None:
        self.server = grpc.aio.server(options=_OPTIONS)
        self._streams: list[tuple[str, Any]] = []
        self._open = 0
        self._done = asyncio.Event()

    async def start(self, address: str) -> None:
        handler = grpc.stream_stream_rpc_method_handler(self._stream)
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        methods = {"DeltaAggregatedResources": handler}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        self.server.add_insecure_port(address)
        await self.server.start()

    async def _stream(self, _: Any, context: Any) -> None:
        scope = await context.read()
        self._streams.append((scope.decode(), context))
        while await context.read() is not grpc.aio.EOF:
            self._open -= 1
            if not self._open:
                self._done.set()

    async def answer(self, op: str, arguments: dict[str, Any]) -> Any:
        """ "streams": how many there are; "round": write once to each, wait for all answers."""
        if op == "streams":
            return len(self._streams)
        bodies: dict[str, bytes] = arguments["bodies"]
        self._open = len(self._streams)
        self._done.clear()
        cpu = cpu_seconds()
        began = time.monotonic()
        if arguments["burst"]:
            await asyncio.gather(*(context.write(bodies[scope]) for scope, context in self._streams))
        else:
            for scope, context in self._streams:
                await context.write(bodies[scope])
        written = time.monotonic()
        await self._done.wait()
        ended = time.monotonic()
        return {
            "began": began,
            "written": written - began,
            "last_ack": ended - began,
            "cpu": cpu_seconds() - cpu,
        }
