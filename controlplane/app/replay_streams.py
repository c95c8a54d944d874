"""The streams of a replay: sessions of the protocol core between the graph's views and Envoys of our own.

What a server's stream does over gRPC happens here in one step: one response of each stream that is woken is
planned, made bytes and hashed, in the order in which they connected; then all are accepted; and so on with
what that makes due, until nothing is.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

from controlplane.app.replay_envoy import Envoy
from controlplane.base.clock import Clock
from controlplane.envoy.types import BY_SHORT, SECRET
from controlplane.model.proxy import Proxy
from controlplane.sources.recorded import Asked, Connected
from controlplane.xds.codec import Codec, identifier
from controlplane.xds.layers import Ledgers
from controlplane.xds.observer import Connection
from controlplane.xds.options import Pace, XdsOptions
from controlplane.xds.protocol import Push
from controlplane.xds.session import Session, Shared
from controlplane.xds.variant import Variant
from controlplane.xds.view import GraphView, GraphViews

FORGET = 300.0
"""Seconds after which a proxy that left is taken for gone: should it come back, it has nothing."""


@dataclass(slots=True)
class Tally:
    """What was sent; the hashes are over all bytes of one stream and type, in order.

    Streams share their bytes, and so each response is hashed once: what is hashed per stream are hashes.
    """

    responses: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    """Bytes by type."""
    seconds: float = 0.0
    """Spent on planning and joining, by the process's clock."""
    _hashes: dict[tuple[str, str], hashlib._Hash] = field(default_factory=dict)
    # What is being sent by identity, and held, so that it stays theirs.
    _recent: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def add(self, stream: str, push: Push, data: bytes) -> None:
        short = push.spec.short
        self.responses[short] += 1
        self.size[short] += len(data)
        if push.spec.url == SECRET:
            return  # keys are redacted in the recording and differ from those that were served
        found = self._hashes.get((stream, short))
        if found is None:
            found = self._hashes[stream, short] = hashlib.sha256()
        found.update(self._digest(data))

    def _digest(self, data: bytes) -> bytes:
        known = self._recent.get(id(data))
        if known is None:
            known = self._recent[id(data)] = (data, hashlib.sha256(data).digest())
        return known[1]

    def forget(self) -> None:
        """What was added is not held any longer; the same bytes would be hashed again."""
        self._recent.clear()

    def digest(self) -> str:
        """One hash over everything, by stream and type in alphabetical order."""
        whole = hashlib.sha256()
        for stream, short in sorted(self._hashes):
            line = f"{stream} {short} {self._hashes[stream, short].hexdigest()}\n"
            whole.update(line.encode())
        return whole.hexdigest()


class Stream:
    """One recorded connection; `connection` and `session` are what the debug views read."""

    def __init__(self, connection: Connection, view: GraphView, session: Session, envoy: Envoy) -> None:
        self.connection = connection
        self.view = view
        self.session = session
        self.envoy = envoy
        self.timer: asyncio.TimerHandle | None = None


class Streams:
    """All connections; `only` counts and hashes those of one proxy (its id, or a connection's)."""

    def __init__(
        self, views: GraphViews, clock: Clock, pace: Pace, only: str = "", *, on_demand: bool = False
    ) -> None:
        self.tally = Tally()
        self.open: dict[str, Stream] = {}
        self.seen: set[str] = set()
        """Ids of all proxies that ever connected."""
        self._views = views
        self._clock = clock
        self._only = only
        self._on_demand = on_demand
        # The process, its version and its machine are no part of what is compared.
        codec = Codec(identifier("mini-istiod", "replay", ""), XdsOptions().body_cache)
        self._shared = Shared(views, Ledgers(), codec, pace)
        self._due: dict[Stream, None] = {}
        self._numbers: dict[Stream, int] = {}
        self._count = itertools.count()
        self._absent: dict[tuple[str, Variant], tuple[Envoy, asyncio.TimerHandle]] = {}

    def connect(self, event: Connected) -> None:
        """A proxy comes, or comes back with what it had."""
        variant = Variant(event.variant)
        connection = Connection(event.connection, event.proxy, variant, "replay", self._clock.monotonic())
        view = self._views.open(event.proxy, incremental=variant is Variant.DELTA)
        session = Session(variant, view.feeds, self._shared)
        stream = Stream(connection, view, session, self._envoy(event.proxy, variant))
        self.open[event.connection] = stream
        self.seen.add(event.proxy.id)
        self._numbers[stream] = next(self._count)
        view.on_change(lambda: self._changed(stream))
        for request in stream.envoy.connect():
            session.receive(request)
        self._wake(stream)

    def ask(self, event: Asked) -> None:
        """A proxy wants what it was not given unasked."""
        stream = self.open.get(event.connection)
        spec = BY_SHORT.get(event.type)
        if stream is not None and spec is not None:
            stream.session.receive(stream.envoy.ask(spec.url, event.names))
            self._wake(stream)

    def disconnect(self, connection: str) -> Stream | None:
        """A proxy leaves; None when it was not there."""
        stream = self.open.pop(connection, None)
        if stream is None:
            return None
        self._due.pop(stream, None)
        self._numbers.pop(stream)
        if stream.timer is not None:
            stream.timer.cancel()
        stream.session.close()
        stream.view.close()
        key = (stream.connection.proxy.id, stream.connection.variant)
        timer = asyncio.get_running_loop().call_later(FORGET, self._absent.pop, key, None)
        self._absent[key] = (stream.envoy, timer)
        return stream

    def counted(self, stream: Stream) -> bool:
        """Whether this stream is among those that were asked for."""
        return self._only in ("", stream.connection.proxy.id, stream.connection.id)

    @property
    def deadline(self) -> float | None:
        """When something may be due although nothing happens; None when all is at rest."""
        times = [stream.timer.when() for stream in self.open.values() if stream.timer is not None]
        return min(times, default=None)

    def close(self) -> None:
        """End all streams."""
        for connection in list(self.open):
            self.disconnect(connection)
        for _, timer in self._absent.values():
            timer.cancel()

    def _envoy(self, proxy: Proxy, variant: Variant) -> Envoy:
        found = self._absent.pop((proxy.id, variant), None)
        if found is not None:
            envoy, timer = found
            timer.cancel()
            return envoy
        for stream in reversed(self.open.values()):
            if (stream.connection.proxy.id, stream.connection.variant) == (proxy.id, variant):
                return stream.envoy.again()
        return Envoy(variant, self._on_demand)

    def _changed(self, stream: Stream) -> None:
        stream.session.rebind(stream.view.feeds)
        stream.session.refresh()
        self._wake(stream)

    def _wake(self, stream: Stream) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._serve)
        self._due[stream] = None

    def _serve(self) -> None:
        due, self._due = self._due, {}
        began = time.process_time()
        now = self._clock.monotonic()
        turn = sorted(due, key=self._numbers.__getitem__)
        for stream in turn:
            if stream.timer is not None:
                stream.timer.cancel()
                stream.timer = None
        while turn:
            # Everybody is written to before anybody answers, as when answers take their time: until then
            # equal plans are one plan.
            sent = [(stream, push) for stream in turn if (push := self._push(stream, now)) is not None]
            self.tally.forget()
            for stream, push in sent:
                for request in stream.envoy.take(push):
                    stream.session.receive(request)
            turn = [stream for stream, _ in sent]
        for stream in due:
            deadline = stream.session.deadline(now)
            if deadline is not None:
                stream.timer = asyncio.get_running_loop().call_at(deadline, self._late, stream)
        self.tally.seconds += time.process_time() - began

    def _push(self, stream: Stream, now: float) -> Push | None:
        """Plan and write one response; None when nothing is due."""
        made = stream.session.next(now)
        if made is None:
            return None
        push, data = made
        stream.session.written(push, now)
        if self.counted(stream):
            self.tally.add(stream.connection.id, push, data)
        return push

    def _late(self, stream: Stream) -> None:
        stream.timer = None
        self._wake(stream)
