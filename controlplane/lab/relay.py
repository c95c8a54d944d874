"""A relay for xDS: it stands between proxies and a control plane and lets things go wrong.

Any proxy (a real Envoy, a synthetic client) in front of any server, both variants of aggregated
discovery.  Messages pass as they are; what befalls each is decided by `controlplane.lab.faults`.  The
only one that is rewritten is an ACK that becomes a NACK.

A stream on which something was lost, swapped or claimed falsely is broken `notice` seconds later, as
if the lost connection had been noticed then: proxy and server disagree, and only the first requests of
a new stream can mend that.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import grpc

from controlplane.base import parse
from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab.faults import Faults
from controlplane.lab.relay_stream import Judge, Stream
from controlplane.xds.listen import opened, prepare

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_DELTA, _SOTW = "DeltaAggregatedResources", "StreamAggregatedResources"
_UNLIMITED = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.max_ping_strikes", 0),
    # Every proxy has a connection of its own to the server, as it would have without us.
    ("grpc.use_local_subchannel_pool", 1),
)


class Relay:
    """Serves on an address what `upstream` serves.  Make it, `start` it on the running loop, `stop` it.

    `counts` says what was done so far: streams, requests, responses, and each fault by name.
    """

    def __init__(self, upstream: str, faults: Faults, notice: float = 2.0) -> None:
        self.upstream = upstream
        self._judge = Judge(faults, notice)
        self._streams: set[Stream] = set()
        self._server: grpc.aio.Server | None = None

    @property
    def counts(self) -> Counter[str]:
        return self._judge.counts

    async def start(self, listen: str) -> str:
        """Listen on "host:port" or "unix:/path"; gives the address with the port that was chosen."""
        address = parse.address(listen)
        server = grpc.aio.server(options=_UNLIMITED)
        handlers = {
            _SOTW: grpc.stream_stream_rpc_method_handler(self._sotw),
            _DELTA: grpc.stream_stream_rpc_method_handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        prepare(address)
        try:
            port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise EnvironmentUnfit(f"cannot listen on {address}: {error}") from error
        self._server = server
        await server.start()
        return str(opened(address, port))

    def calm(self) -> None:
        """No faults from here on; the streams that suffered from one are broken now."""
        self._judge.faults = Faults()
        for stream in tuple(self._streams):
            if stream.damaged:
                stream.end()

    async def stop(self) -> None:
        """Break what is open and close."""
        if self._server is not None:
            await self._server.stop(None)

    async def _sotw(self, _requests: object, context: Any) -> None:
        await self._handle(_SOTW, context)

    async def _delta(self, _requests: object, context: Any) -> None:
        await self._handle(_DELTA, context)

    async def _handle(self, method: str, context: Any) -> None:
        first = await context.read()
        if not isinstance(first, bytes):
            return
        metadata = tuple((key, value) for key, value in context.invocation_metadata() or () if _ours(key))
        async with grpc.aio.insecure_channel(self.upstream, options=_UNLIMITED) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{method}")(metadata=metadata)
            stream = Stream(self._judge, context, call, method == _DELTA)
            self.counts["streams"] += 1
            self._streams.add(stream)
            try:
                code, reason = await stream.run(first)
            finally:
                self._streams.discard(stream)
                call.cancel()
        if code is not grpc.StatusCode.OK:
            await context.abort(code, reason)


def _ours(key: str) -> bool:
    """Whether a header is the proxy's, not of its connection to us."""
    return not key.startswith(("grpc-", ":")) and key not in ("user-agent", "te", "content-type")
