"""The gRPC server: aggregated discovery in both variants, raw bytes in and out.

A stream passes three doors before it has a session: the server must be ready, the rate of new streams
must allow it, and its first request must carry a node that can be understood.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc

from controlplane import __version__
from controlplane.base.clock import Clock
from controlplane.base.errors import EnvironmentUnfit, ProtocolError
from controlplane.base.parse import Address
from controlplane.model.proxy import Proxy, parse_node
from controlplane.xds.admission import Admission
from controlplane.xds.codec import Codec, NodeClaim, identifier
from controlplane.xds.feed import Views
from controlplane.xds.layers import Ledgers
from controlplane.xds.ledger import StandIn
from controlplane.xds.listen import channel_options, opened, prepare
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.protocol import Request
from controlplane.xds.session import Session, Shared
from controlplane.xds.stream import Around, Call, Stream
from controlplane.xds.throttle import Throttle
from controlplane.xds.variant import Variant

_log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_Context: TypeAlias = Any
"""gRPC's context of one call: reads, writes (it is a `Call`), aborts and knows its peer."""


class _Refused(Exception):
    """A stream that is to end with this status."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class XdsServer:
    """Serves `views` on `addresses`.  Make it, `start` it on the running loop, `stop` it.

    `stand_in` is asked for every resource before it is served: see `controlplane.xds.ledger`.
    """

    def __init__(
        self,
        views: Views,
        addresses: Sequence[Address],
        options: XdsOptions,
        *,
        clock: Clock,
        observer: PushObserver | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        self.options = options
        self.ledgers = Ledgers(stand_in)
        self.addresses: tuple[Address, ...] = tuple(addresses)
        """Where the server listens; once it is started, with the ports that were chosen."""
        self._views = views
        self._observer = observer or PushObserver()
        self._clock = clock
        self._around = Around(clock, options, Throttle(options.push_throttle), self._observer)
        name = identifier("mini-istiod", f"{socket.gethostname()}-{os.getpid()}", __version__)
        self._shared = Shared(views, self.ledgers, Codec(name, options.body_cache), options.pace)
        self._admission = Admission(options.streams_per_second, options.admission_wait)
        self._numbers = itertools.count(1)
        self._streams: dict[str, Stream] = {}
        self._draining = False
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that are open now, oldest first."""
        return tuple(self._streams.values())

    async def start(self) -> None:
        """Listen; EnvironmentUnfit when an address cannot be had."""
        server = grpc.aio.server(options=channel_options(self.options))
        handlers = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._sotw),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self._server = server
        bound = []
        for address in self.addresses:
            prepare(address)
            try:
                port = server.add_insecure_port(str(address))
            except RuntimeError as error:
                raise EnvironmentUnfit(f"cannot listen on {address}: {error}") from error
            bound.append((address, port))
        await server.start()
        self._look_for_stalls()
        self.addresses = tuple(opened(address, port) for address, port in bound)

    async def stop(self, seconds: float = 0.0) -> None:
        """Refuse new streams, end the open ones spread over `seconds`, and close.

        Proxies come back at once, to another replica or to our successor; not all at the same time.
        """
        self._draining = True
        if self._watch is not None:
            self._watch.cancel()
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        streams = self.streams
        timers = [
            loop.call_later(seconds * index / len(streams), stream.end)
            for index, stream in enumerate(streams)
        ]
        try:
            # What has not ended well by then (its client reads nothing) is cut off.
            await self._server.stop(seconds + 1.0 if streams else None)
        finally:
            for timer in timers:
                timer.cancel()

    def _look_for_stalls(self) -> None:
        now = self._clock.monotonic()
        for stream in self.streams:
            stream.check(now)
        # A timer for every write would cost more than the writes of a quiet mesh.
        interval = max(self.options.write_timeout / 4, 0.01)
        self._watch = asyncio.get_running_loop().call_later(interval, self._look_for_stalls)

    # -- one stream -----------------------------------------------------------------------------

    async def _sotw(self, _requests: object, context: _Context) -> None:
        await self._handle(Variant.SOTW, context)

    async def _delta(self, _requests: object, context: _Context) -> None:
        await self._handle(Variant.DELTA, context)

    async def _handle(self, variant: Variant, context: _Context) -> None:
        try:
            await self._serve(variant, context)
        except _Refused as refused:
            self._observer.refused(refused.code.name, refused.reason)
            await context.abort(refused.code, refused.reason)
        except ProtocolError as error:
            self._observer.refused(grpc.StatusCode.INVALID_ARGUMENT.name, str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Exception:  # the root of a stream's task: our fault ends this stream and no other
            self._observer.failed()
            raise  # gRPC logs it and tells the client UNKNOWN

    async def _serve(self, variant: Variant, context: _Context) -> None:
        await self._admit()
        introduced = await self._introduction(variant, context)
        if introduced is None:
            return
        request, proxy = introduced
        number = next(self._numbers)
        connection = Connection(
            f"{proxy.id}-{number}", proxy, variant, context.peer(), self._clock.monotonic()
        )
        view = self._views.open(proxy, incremental=variant is Variant.DELTA)
        session = Session(variant, view.feeds, self._shared)
        stream = self._streams[connection.id] = Stream(context, connection, view, session, self._around)
        self._observer.connected(connection)
        running = stream.run(request)
        # A proxy that comes back names all it has: that is not to be kept for as long as it stays.
        del introduced, request
        try:
            await running
        finally:
            del self._streams[connection.id]
            session.close()
            view.close()
            self._observer.gone(connection, self._clock.monotonic())

    async def _admit(self) -> None:
        if self._draining:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "this control plane is shutting down")
        if not self._views.ready:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "the sources have not synced yet")
        wait = self._admission.delay(self._clock.monotonic())
        if wait is None:
            raise _Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many new streams at a time")
        if wait > 0:
            await self._clock.sleep(wait)

    async def _introduction(self, variant: Variant, call: Call) -> tuple[Request, Proxy] | None:
        """The first request, and who sent it; None when the client leaves without a word."""
        try:
            async with asyncio.timeout(self.options.introduction_timeout):
                data = await call.read()
        except TimeoutError:
            raise _Refused(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the stream's first request did not come"
            ) from None
        if not isinstance(data, bytes):
            return None
        self._observer.received(len(data))
        request, claim = self._shared.codec.decode(variant, data)
        return request, _proxy(claim)


def _proxy(claim: NodeClaim | None) -> Proxy:
    if claim is None:
        raise ProtocolError("the first request of a stream must carry the node")
    return parse_node(claim.id, claim.metadata, claim.locality)
