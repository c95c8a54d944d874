"""The event loop of a fleet process: sockets, timers and a pipe on one epoll, in one thread.

It keeps account of itself: a turn that takes long makes the proxies late, so turns are noted.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

from controlplane.lab.fleet.http2 import Connection

_BUFFER = 1 << 18
_LATE = 0.001
"""Seconds from which on a turn of the loop is worth a note."""


class Loop:
    """Calls connections when their sockets are ready, and functions when they are due."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._buffer = memoryview(bytearray(_BUFFER))
        self._functions: dict[int, Callable[[], None]] = {}
        # By descriptor; an entry stays until its number is given to another connection.
        self._connections: dict[int, Connection] = {}
        self._events: dict[int, int] = {}
        self._deaf: set[int] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.turns: list[tuple[float, float]] = []
        """(when it began, how long it took) of each long turn; monotonic seconds."""

    def watch(self, descriptor: int, function: Callable[[], None]) -> None:
        """Call the function whenever the descriptor can be read."""
        self._functions[descriptor] = function
        self._poll.register(descriptor, select.EPOLLIN)

    def add(self, connection: Connection) -> None:
        """Serve a connection until it ends."""
        descriptor = connection.sock.fileno()
        self._connections[descriptor] = connection
        self._deaf.discard(descriptor)
        self._events[descriptor] = select.EPOLLIN
        self._poll.register(descriptor, select.EPOLLIN)
        self.attend(connection)

    def attend(self, connection: Connection) -> None:
        """Look again at what a connection waits for; needed after writing to it outside its own turn."""
        if connection.ended:
            return
        descriptor = connection.sock.fileno()
        wanted = 0 if descriptor in self._deaf else select.EPOLLIN
        if connection.blocked:
            wanted |= select.EPOLLOUT
        if wanted != self._events[descriptor]:
            self._events[descriptor] = wanted
            self._poll.modify(descriptor, wanted)

    def deafen(self, connection: Connection, deaf: bool) -> None:
        """Read nothing from a connection until told otherwise: its windows fill, as with a stalled Envoy."""
        if connection.ended:
            return
        (self._deaf.add if deaf else self._deaf.discard)(connection.sock.fileno())
        self.attend(connection)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call the function once, so many seconds from now; functions due at once keep their order."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), function))

    def turn(self, longest: float) -> None:
        """Wait for something, at most `longest` seconds (negative: for ever), and do what is to be done."""
        if self._timers:
            left = max(0.0, self._timers[0][0] - time.monotonic())
            longest = left if longest < 0 else min(left, longest)
        events = self._poll.poll(longest)
        began = time.monotonic()
        for descriptor, event in events:
            if descriptor in self._functions:
                self._functions[descriptor]()
            else:
                self._serve(descriptor, event)
        while self._timers and self._timers[0][0] <= began:
            heapq.heappop(self._timers)[2]()
        took = time.monotonic() - began
        if took > _LATE:
            self.turns.append((began, took))

    def _serve(self, descriptor: int, event: int) -> None:
        connection = self._connections[descriptor]
        if connection.ended:
            return
        # A hang-up is found out by reading, from a deaf connection too.
        if event & ~select.EPOLLOUT:
            connection.readable(self._buffer)
        if event & select.EPOLLOUT and not connection.ended:
            connection.writable()
        self.attend(connection)
