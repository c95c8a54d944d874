"""One stream: a task that reads and a task that writes, with a session between them.

The reader takes in requests whatever the writer does.  The writer sleeps until something may be due,
waits for its turn at the push throttle, and only then plans: what it sends is the newest state.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple, Protocol

from controlplane.base.clock import Clock
from controlplane.xds.codec import decode
from controlplane.xds.feed import View
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.protocol import Push, Request
from controlplane.xds.session import Session
from controlplane.xds.throttle import Priority, Slot, Throttle

_log = logging.getLogger(__name__)


class Call(Protocol):
    """The transport of one stream."""

    async def read(self) -> bytes | None:
        """The next request; None when the client has said its last."""
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
        self._clock, self._options, self._throttle, self._observer = around
        self._wake = asyncio.Event()
        self._ending = False
        # When the oldest event came that is not served yet; None when all are.
        self._since: float | None = None
        self._woken = False
        self._timer: asyncio.TimerHandle
        self._unknown: set[str] = set()
        view.on_change(self._changed)

    async def run(self, first: Request) -> None:
        """Serve until the client hangs up or `end` is called.

        Raises ProtocolError when the client sends what is no request.
        """
        self._hear(first)
        reader = asyncio.create_task(self._read(), name=f"reader of {self.connection.id}")
        try:
            await self._write()
        finally:
            reader.cancel()
            await asyncio.wait([reader])
        if not reader.cancelled():
            reader.result()

    def end(self) -> None:
        """Let the stream end well, after the response that is being written."""
        self._ending = True
        self._wake.set()

    # -- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while (data := await self._call.read()) is not None:
                self._observer.received(len(data))
                request, _ = decode(self.session.variant, data)
                self._hear(request)
        finally:
            self.end()

    def _hear(self, request: Request) -> None:
        heard = self.session.receive(request)
        now = self._clock.monotonic()
        if heard.unknown:
            self._warn_once(request.type_url)
            return
        if heard.expired:
            self._observer.expired(self.connection, request.type_url)
        verdict = heard.verdict
        if verdict is not None and verdict.error is None:
            self._observer.acked(self.connection, verdict, now)
        elif verdict is not None:
            self._observer.nacked(self.connection, verdict, now)
        if self.session.stirred:
            self._stir(now)

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
        now = self._clock.monotonic()
        self.session.rebind(self._view.feeds)
        self._woken = True
        self._observer.woken(self.connection, self.session.revision, now)
        self._stir(now)

    def _stir(self, now: float) -> None:
        if self._since is None:
            self._since = now
        self._wake.set()

    async def _write(self) -> None:
        while not self._ending:
            self._wake.clear()
            slot = self._throttle.try_take()
            if slot is None and self.session.stirred:
                now = self._clock.monotonic()
                since = now if self._since is None else self._since
                slot = await self._throttle.take(Priority(since, self.session.urgency(now)))
            if slot is None or not await self._push(slot):
                self._is_idle()
                await self._rest()

    async def _push(self, slot: Slot) -> bool:
        """Plan and write one response; False when nothing is due.  Gives the slot back."""
        try:
            started = self._clock.monotonic()
            made = self.session.next(started)
            if made is None:
                return False
            push, data = made
            self._woken = False
            now = self._clock.monotonic()
            self._observer.planned(self.connection, push, now - started, now)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._options.slot_time, self._is_slow, slot, push)
            try:
                await self._call.write(data)
            finally:
                self._timer.cancel()
        finally:
            slot.release()
        now = self._clock.monotonic()
        self.session.written(push, now)
        self._observer.written(self.connection, push, now)
        return True

    def _is_slow(self, slot: Slot, push: Push) -> None:
        """The client's window is closed, or the machine is busy: nobody else is to wait for that."""
        slot.release()
        rest = max(self._options.write_timeout - self._options.slot_time, 0.0)
        self._timer = asyncio.get_running_loop().call_later(rest, self._is_stalled, push)

    def _is_stalled(self, push: Push) -> None:
        self._observer.stalled(self.connection, push)

    def _is_idle(self) -> None:
        """Nothing is due.  What woke the stream, if anything, did not concern it or is done with."""
        self._since = None
        if self._woken and not self.session.stirred:
            self._woken = False
            self._observer.untouched(self.connection, self.session.revision, self._clock.monotonic())

    async def _rest(self) -> None:
        """Sleep until something may be due."""
        deadline = self.session.deadline(now := self._clock.monotonic())
        if deadline is None:
            await self._wake.wait()
        else:
            timer = asyncio.get_running_loop().call_later(deadline - now, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
