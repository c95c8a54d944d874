"""One stream: a task that reads and a task that writes, with a session between them.

The reader takes in requests whatever the writer does.  The writer sleeps until it is its turn at the push
throttle, and only then plans: what it sends is the newest state.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple, Protocol

from controlplane.base.clock import Clock
from controlplane.base.errors import ProtocolError
from controlplane.xds.admission import Bucket
from controlplane.xds.caller import still
from controlplane.xds.feed import View
from controlplane.xds.names import NOBODY
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.order import owes
from controlplane.xds.protocol import Push, Request
from controlplane.xds.session import Session
from controlplane.xds.throttle import Priority, Slot, Throttle, Turn
from controlplane.xds.unserved import Unserved
from controlplane.xds.variant import Variant

_log = logging.getLogger(__name__)


class Call(Protocol):
    """The transport of one stream."""

    async def read(self) -> object:
        """The bytes of the next request; anything else when the client has said its last."""
        ...

    async def write(self, data: bytes) -> None:
        """Return when the transport has taken the response: not while the client's window is closed."""
        ...


class Around(NamedTuple):
    """What all streams of a server share, beside the sessions' part."""

    clock: Clock
    options: XdsOptions
    throttle: Throttle
    observer: PushObserver


class Stream:
    """Drives one session over one call, and closes neither."""

    def __init__(
        self, call: Call, connection: Connection, view: View, session: Session, around: Around
    ) -> None:
        self.connection = connection
        self.session = session
        self._call = call
        self._view = view
        self._only = connection.only
        self._clock, self._options, self._throttle, self._observer = around
        self._ending = False
        self.was_cut = False
        self._requests = Bucket(self._options.requests_per_second, self._options.request_burst)
        self._flooding = self._greedy = False
        self._writer: asyncio.Task[None] | None = None
        # What the writer sleeps on, and whether it stands in the throttle's queue already.
        self._turn: Turn | None = None
        self._queued = False
        # Whether the view changed since the last response, or since it was found not to matter.
        self._woken = False
        # The response that is being written, and since when.
        self._writing: Push | None = None
        self._since = 0.0
        self._unknown: set[str] = set()
        self._unserved = Unserved(connection.id)
        view.on_change(self._changed)

    async def run(self, first: Request) -> None:
        """Serve until the client hangs up, or `end` or `cut` is called.

        Raises ProtocolError when the client sends what is no request.
        """
        self._hear(first)
        del first
        # Each in a task of its own: a task that wakes goes down through all coroutines that wait for it,
        # and between here and gRPC there are eight of them.
        reader = asyncio.create_task(self._read(), name=f"reader of {self.connection.id}")
        writer = asyncio.create_task(self._write(), name=f"writer of {self.connection.id}")
        self._writer = writer
        try:
            await asyncio.wait([writer])
        finally:
            # First: whoever waits, as below, may be broken off while it waits.
            self._unserved.look(self.session, last=True)
            reader.cancel()
            writer.cancel()
            await asyncio.wait([reader, writer])
        if not writer.cancelled():
            writer.result()
        if not reader.cancelled():
            reader.result()

    def end(self) -> None:
        """Let the stream end well, after the response that is being written."""
        self._ending = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def cut(self) -> None:
        """Let the stream end now, whatever is being written: its client may not have the rest of it."""
        self._ending = self.was_cut = True
        if self._writer is not None:
            self._writer.cancel()

    # -- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        read, codec, variant = self._call.read, self.session.codec, self.session.variant
        try:
            while isinstance(data := await read(), bytes):
                self._observer.received(len(data))
                wait = self._requests.delay(self._clock.monotonic())
                if wait > 0:
                    await self._slow_down(wait)
                request, claim = codec.decode(variant, data)
                if claim is not None:
                    still(self.connection.proxy, claim)
                self._hear(request)
        finally:
            self.end()

    async def _slow_down(self, wait: float) -> None:
        """Let a client that sends too many requests wait: what is not read fills its window."""
        if not self._flooding:
            self._flooding = True
            _log.warning("a proxy sends too many requests", extra={"proxy": self.connection.id})
        await self._clock.sleep(wait)

    def _hear(self, request: Request) -> None:
        if self._only and request.type_url != self._only:
            if request.type_url:
                raise ProtocolError(f"only {self._only} is served here")
            request = request._replace(type_url=self._only)
        heard = self.session.receive(self._within_bounds(request))
        verdict = heard.verdict
        if verdict is not None:
            tell = self._observer.acked if verdict.error is None else self._observer.nacked
            tell(self.connection, verdict, self._clock.monotonic())
        if heard.expired:
            self._observer.expired(self.connection, request.type_url)
        elif heard.unknown:
            self._warn_once(request.type_url)
        self._queue()

    def _within_bounds(self, request: Request) -> Request:
        """Without the names that would be too many: they are not heard, and never answered."""
        if not request.names:
            return request
        sub = self.session.subscriptions.get(request.type_url)
        if sub is None or not (sub.spec.on_demand or sub.spec.awaited):
            return request
        delta = self.session.variant is Variant.DELTA
        known = sub.interest.names
        if len(request.names) + delta * len(known) <= self._options.most_names:
            return request
        if not self._greedy:
            self._greedy = True
            _log.warning(
                "a proxy asks for too many names",
                extra={"connection": self.connection.id, "type": sub.spec.short, "reason": "not heard"},
            )
        return request._replace(names=NOBODY if delta else known)

    def _warn_once(self, type_url: str) -> None:
        if type_url not in self._unknown and len(self._unknown) < 10:
            self._unknown.add(type_url)
            _log.warning(
                "a proxy asks for a type that is not served",
                extra={"connection": self.connection.id, "type": type_url[:200]},
            )

    # -- writing --------------------------------------------------------------------------------

    def _changed(self) -> None:
        """The view has something new."""
        session = self.session
        session.rebind(self._view.feeds)
        stirred = session.refresh()
        self._woken = True
        now = self._clock.monotonic()
        self._observer.woken(self.connection, session.newest, now)
        if stirred:
            self._stand(now)
        elif self._turn is not None:
            self._is_idle()

    def _queue(self) -> None:
        """Stand in the queue for a push slot, if the writer sleeps and something may be due."""
        if self._turn is not None and not self._queued and self.session.stirred:
            self._stand(self._clock.monotonic())

    def _stand(self, now: float) -> None:
        turn = self._turn
        if turn is None or self._queued or turn.done():
            return
        self._queued = True
        slot = self._throttle.try_take()
        if slot is not None:
            turn.set_result(slot)
        else:
            session = self.session
            self._throttle.wait(Priority(session.revision, session.urgency(now)), turn)

    async def _write(self) -> None:
        blocked = False
        while not self._ending:
            slot = await self._sleep(blocked)
            if slot is not None:
                blocked = not await self._push(slot)

    async def _sleep(self, blocked: bool) -> Slot | None:
        """Sleep until it is this stream's turn; `blocked` if what may be due has to wait for something."""
        stirred = self.session.stirred
        if stirred and not blocked and (slot := self._throttle.try_take()) is not None:
            # The rest of a flush follows at once, not a turn of the loop later, if nobody has to wait for it.
            return slot
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._turn = turn
        self._queued = False
        timer = None
        now = self._clock.monotonic()
        if stirred and not blocked:
            self._stand(now)
        else:
            self._is_idle()
            if stirred and (deadline := self.session.deadline(now)) is not None:
                timer = loop.call_later(deadline - now, self._queue)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and (slot := turn.result()) is not None:
                slot.release()
            raise
        finally:
            self._turn = None
            if timer is not None:
                timer.cancel()

    async def _push(self, slot: Slot) -> bool:
        """Plan and write one response; False when nothing is due.  Gives the slot back."""
        started = self._clock.monotonic()
        made = self.session.next(started)
        if made is None:
            slot.release()
            return False
        push, data = made
        self._woken = False
        self._writing, self._since = push, self._clock.monotonic()
        self._observer.planned(self.connection, push, self._since - started, self._since)
        try:
            if len(data) <= self._options.small_write:
                # It fits the client's window, or waits there without burdening anybody.  Whoever gets
                # the slot runs at the next turn of the loop.
                slot.release()
                await self._call.write(data)
            else:
                await self._write_large(data, slot)
        finally:
            self._writing = None
        now = self._clock.monotonic()
        self.session.written(push, now)
        self._observer.written(self.connection, push, now)
        return True

    async def _write_large(self, data: bytes, slot: Slot) -> None:
        timer = asyncio.get_running_loop().call_later(self._options.slot_time, slot.release)
        try:
            await self._call.write(data)
        finally:
            timer.cancel()
            slot.release()

    def check(self, now: float) -> None:
        """Report a write that takes too long, once, and secrets that are waited for in vain."""
        self._unserved.look(self.session)
        push = self._writing
        if push is not None and now - self._since >= self._options.write_timeout:
            self._writing = None
            self._observer.stalled(self.connection, push)

    def _is_idle(self) -> None:
        """Nothing is due now.  What woke the stream, if anything, did not concern it or is done with."""
        if self._woken and not owes(self.session.subscriptions):
            self._woken = False
            self._observer.untouched(self.connection, self.session.revision, self._clock.monotonic())
