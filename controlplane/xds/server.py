"""The gRPC server: aggregated discovery and secret discovery in both variants, raw bytes in and out.

Before a stream has a session the server must be ready, the rate of new streams must allow it, its caller
must be known as far as the door demands, and its first request must carry a node that can be understood and
that claims nothing of another's.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import grpc

from controlplane import __version__
from controlplane.base.allowance import Allowance
from controlplane.base.clock import Clock
from controlplane.base.errors import Denied, ProtocolError, Unauthenticated
from controlplane.base.parse import Address
from controlplane.envoy.types import SECRET
from controlplane.model.caller import host_of
from controlplane.model.identity import Identity
from controlplane.model.proxy import Proxy, parse_node
from controlplane.xds.admission import Admission, Places
from controlplane.xds.caller import NOBODY, Caller, Denial, Door, Whose, bound, presented, whose
from controlplane.xds.codec import Codec, identifier
from controlplane.xds.doors import Access, Doors
from controlplane.xds.feed import Views
from controlplane.xds.layers import Ledgers
from controlplane.xds.ledger import StandIn
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.protocol import Request
from controlplane.xds.public import Public
from controlplane.xds.session import Session, Shared
from controlplane.xds.stream import Around, Call, Stream
from controlplane.xds.throttle import Throttle
from controlplane.xds.variant import Variant

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
SECRETS = "envoy.service.secret.v3.SecretDiscoveryService"
LOOK = 1.0
"""Seconds at most between two looks at whether those who were let in may stay."""
_TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED
_Context: TypeAlias = Any
"""gRPC's context of one call: reads, writes (it is a `Call`), aborts and knows its peer."""


class _Refused(Exception):
    """A stream that is to end with this status; `cause` is one word for why, "" for the status itself."""

    def __init__(self, code: grpc.StatusCode, reason: str, cause: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.cause = cause or code.name.lower()
        self.who = NOBODY


class _Asked(NamedTuple):
    """Which stream was opened, and where; `only` is the type that its service is for, "" for all."""

    door: Door
    variant: Variant
    only: str


class XdsServer:
    """Serves `views` on `addresses`.  Make it, `start` it on the running loop, `stop` it.

    `addresses` are the plaintext ones; who is let in, and where else, is `access`.  `stand_in` is asked
    for every resource before it is served: see `controlplane.xds.ledger`.
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
        access: Access | None = None,
    ) -> None:
        self.options = options
        self.ledgers = Ledgers(stand_in)
        access = access or Access()
        self._authenticator = access.authenticator
        self.doors = Doors(addresses, access, options, self._handlers)
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
        self._places = Places(options.streams_per_identity)
        self._visits = Allowance(clock, options.visits_per_second, options.visits_at_once)
        self._started = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that are open now, oldest first."""
        return tuple(self._streams.values())

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the plaintext door is; once the server is started, with the ports that were chosen."""
        return self.doors.addresses[Door.PLAINTEXT]

    async def start(self) -> None:
        """Listen; EnvironmentUnfit when an address cannot be had."""
        await self.doors.start()
        self._started = True
        self._look_around()

    def _handlers(self, door: Door) -> Sequence[grpc.GenericRpcHandler]:
        return (
            self._service(SERVICE, ("StreamAggregatedResources", "DeltaAggregatedResources"), door, ""),
            self._service(SECRETS, ("StreamSecrets", "DeltaSecrets"), door, SECRET),
        )

    def _service(self, name: str, methods: Sequence[str], door: Door, only: str) -> grpc.GenericRpcHandler:
        handlers = {}
        for method, variant in zip(methods, (Variant.SOTW, Variant.DELTA), strict=True):
            answer = _answering(self._handle, _Asked(door, variant, only))
            handlers[method] = grpc.stream_stream_rpc_method_handler(answer)
        return grpc.method_handlers_generic_handler(name, handlers)

    async def stop(self, seconds: float = 0.0) -> None:
        """Refuse new streams, end the open ones spread over `seconds`, and close.

        Proxies come back at once, to another replica or to our successor; not all at the same time.
        """
        self._draining = True
        if self._watch is not None:
            self._watch.cancel()
        if not self._started:
            return
        loop = asyncio.get_running_loop()
        streams = self.streams
        timers = [
            loop.call_later(seconds * index / len(streams), stream.end)
            for index, stream in enumerate(streams)
        ]
        try:
            # What has not ended well by then (its client reads nothing) is cut off.
            await self.doors.stop(seconds + 1.0 if streams else None)
        finally:
            for timer in timers:
                timer.cancel()

    def _look_around(self) -> None:
        """Which writes take too long, and who may not stay."""
        now = self._clock.monotonic()
        for stream in self.streams:
            stream.check(now)
            caller = stream.connection.caller
            if caller is not None and self._authenticator.objection(caller):
                stream.cut()
        # A timer for every write would cost more than the writes of a quiet mesh.
        interval = min(max(self.options.write_timeout / 4, 0.01), LOOK)
        self._watch = asyncio.get_running_loop().call_later(interval, self._look_around)

    # -- one stream -----------------------------------------------------------------------------

    async def _handle(self, asked: _Asked, context: _Context) -> None:
        try:
            await self._let_in(asked, context)
        except _Refused as refused:
            told = Denial(refused.cause, refused.reason, asked.door, context.peer(), *refused.who)
            self._observer.denied(told)
            await context.abort(refused.code, refused.reason)
        except Exception:  # the root of a stream's task: our fault ends this stream and no other
            self._observer.failed()
            raise  # gRPC logs it and tells the client UNKNOWN

    async def _let_in(self, asked: _Asked, context: _Context) -> None:
        self._refuse_when_unready()
        who = NOBODY
        try:
            caller = await self._authenticator.identify(presented(asked.door, context))
            who, identity = Whose(caller.identity, caller.token), caller.identity
            # Only now, so that those who are turned away take no place of a proxy's.
            self._refuse_when_too_often(identity, context.peer())
            await self._admit()
            self._refuse_when_unready()  # all of that may have taken seconds
            with self._places.one(identity) as free:
                if not free:
                    raise _Refused(_TOO_MUCH, "this identity has too many streams", "streams")
                await self._serve(asked, caller, context)
        except (Unauthenticated, Denied, ProtocolError, _Refused) as error:
            refusal = _refusal(error)
            refusal.who = whose(error, self._authenticator.trust_domain()) or who
            raise refusal from error

    def _refuse_when_too_often(self, identity: Identity | None, peer: str) -> None:
        if identity is not None and not self._visits.take((identity, host_of(peer))):
            raise _Refused(_TOO_MUCH, "this identity opens streams too often", "rate")

    async def _serve(self, asked: _Asked, caller: Caller, context: _Context) -> None:
        introduced = await self._introduction(asked.variant, context)
        if introduced is None:
            said = "no first request came, or one that is too long"
            who = (caller.identity, caller.token)
            self._observer.denied(Denial("silent", said, asked.door, context.peer(), *who))
            return
        # What was good when it was shown may have ended since: that took up to half a minute.
        if objection := self._authenticator.objection(caller):
            raise Unauthenticated("ended", objection)
        request, claimed = introduced
        proxy = bound(claimed, caller, self._authenticator.trust_domain())
        number = next(self._numbers)
        connection = Connection(
            f"{proxy.id}-{number}",
            proxy,
            asked.variant,
            context.peer(),
            self._clock.monotonic(),
            caller,
            asked.only,
        )
        view = self._views.open(proxy, incremental=asked.variant is Variant.DELTA)
        shown = view if caller.private else Public(view)
        session = Session(asked.variant, shown.feeds, self._shared)
        stream = self._streams[connection.id] = Stream(context, connection, shown, session, self._around)
        self._observer.connected(connection)
        running = stream.run(request)
        # A proxy that comes back names all it has: that is not to be kept for as long as it stays.
        del introduced, request, claimed
        try:
            await running
        finally:
            del self._streams[connection.id]
            session.close()
            view.close()
            self._observer.gone(connection, self._clock.monotonic())
        if stream.was_cut:
            reason = self._authenticator.objection(caller)
            raise Unauthenticated("ended", reason or "credential expired")

    def _refuse_when_unready(self) -> None:
        if self._draining:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "this control plane is shutting down")
        if not self._views.ready:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "the sources have not synced yet")

    async def _admit(self) -> None:
        wait = self._admission.delay(self._clock.monotonic())
        if wait is None:
            raise _Refused(_TOO_MUCH, "too many new streams at a time")
        if wait > 0:
            await self._clock.sleep(wait)

    async def _introduction(self, variant: Variant, call: Call) -> tuple[Request, Proxy] | None:
        """The first request, and who sent it; None when the client leaves without a word."""
        try:
            async with asyncio.timeout(self.options.introduction_timeout):
                data = await call.read()
        except TimeoutError:
            late = grpc.StatusCode.DEADLINE_EXCEEDED
            raise _Refused(late, "the stream's first request did not come") from None
        if not isinstance(data, bytes):
            return None
        self._observer.received(len(data))
        request, claim = self._shared.codec.decode(variant, data)
        if claim is None:
            raise ProtocolError("the first request of a stream must carry the node")
        return request, parse_node(claim.id, claim.metadata, claim.locality)


def _refusal(error: Unauthenticated | Denied | ProtocolError | _Refused) -> _Refused:
    if isinstance(error, _Refused):
        return error
    if isinstance(error, ProtocolError):
        return _Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    known = isinstance(error, Denied)
    code = grpc.StatusCode.PERMISSION_DENIED if known else grpc.StatusCode.UNAUTHENTICATED
    return _Refused(code, str(error), error.cause)


def _answering(
    handle: Callable[[_Asked, _Context], Awaitable[None]], asked: _Asked
) -> Callable[[object, _Context], Awaitable[None]]:
    """A handler as gRPC wants it: it looks whether it is a coroutine function."""

    async def handler(_requests: object, context: _Context) -> None:
        await handle(asked, context)

    return handler
