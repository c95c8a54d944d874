"""Connections to the monitoring port, and how long one may say nothing.

The HTTP library waits for the head of a first request without end.  So a client that sends a byte a minute,
or none, would hold its connection for ever, and enough of them all that this process may have open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds that a connection may be without a whole head of a request."""
MOST = 512
"""Connections at a time.  For one more, that is closed which has waited longest for its client."""


@dataclass(slots=True)
class _Waiting:
    """`owing`: its client has begun a request, or never sent one; else it only keeps its connection."""

    timer: asyncio.TimerHandle
    owing: bool


class Connections:
    """Makes the protocols of a server, each around one that `make` makes."""

    def __init__(
        self, make: Callable[[], asyncio.Protocol], silence: float = SILENCE, most: int = MOST
    ) -> None:
        self._make = make
        self._most = most
        self.silence = silence
        # Those that wait for their client, the one that waits longest first; and the rest.
        self._waiting: dict[asyncio.Transport, _Waiting] = {}
        self._busy: set[asyncio.Transport] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Patient(self._make(), self)

    @contextmanager
    def answering(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """While a request is answered, its client is waited for no longer."""
        found = cast("asyncio.Transport", transport)
        waiting = self._waiting.pop(found, None)
        if waiting is None:  # closed, or one that is not ours
            yield
            return
        waiting.timer.cancel()
        self._busy.add(found)
        try:
            yield
        finally:
            if found in self._busy:
                self._busy.remove(found)
                self._wait(found, owing=False)

    def opened(self, transport: asyncio.Transport) -> bool:
        """A client has connected; False when there is no place for it."""
        if len(self._waiting) + len(self._busy) >= self._most:
            longest = next(iter(self._waiting), None)
            self._close(longest or transport, "there are too many connections")
            if longest is None:
                return False
        self._wait(transport, owing=True)
        return True

    def heard(self, transport: asyncio.Transport) -> None:
        """Its client has sent something, be it a whole request or not."""
        waiting = self._waiting.get(transport)
        if waiting is not None:
            waiting.owing = True

    def closed(self, transport: asyncio.Transport) -> None:
        """A connection is gone."""
        waiting = self._waiting.pop(transport, None)
        if waiting is not None:
            waiting.timer.cancel()
        self._busy.discard(transport)

    def _wait(self, transport: asyncio.Transport, *, owing: bool) -> None:
        timer = asyncio.get_running_loop().call_later(self.silence, self._give_up, transport)
        self._waiting[transport] = _Waiting(timer, owing)

    def _give_up(self, transport: asyncio.Transport) -> None:
        if self._waiting[transport].owing:
            self._close(transport, "its request did not come")
        else:
            self.closed(transport)
            transport.abort()

    def _close(self, transport: asyncio.Transport, reason: str) -> None:
        self.closed(transport)
        peer = transport.get_extra_info("peername")
        _log.warning("a visitor's connection was closed", extra={"reason": reason, "peer": _text(peer)})
        transport.abort()


class _Patient(asyncio.Protocol):
    """Passes everything on, and says when the connection begins and ends."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        found = cast("asyncio.Transport", transport)
        if self._connections.opened(found):
            self._transport = found
            self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.closed(self._transport)
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._connections.heard(self._transport)
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._transport is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def _text(peer: object) -> str:
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
