"""A process of many synthetic proxies on one epoll loop; it notes when each of them was told what.

Each proxy has a connection to the control plane, and may have a second one to the bare loop.  On both
it does the same work for a message: parse (or recognise) it, note the time, answer.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

from controlplane.envoy.types import BY_URL
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet.http2 import Connection
from controlplane.lab.fleet.peer import DELTA_PATH, Parsed, Parser, Peer, acknowledgement, introduction

_BUFFER = memoryview(bytearray(1 << 18))
_BACKOFF, _BACKOFF_MAX = 0.5, 30.0
"""Seconds, fully jittered, as in config.core.v3.BackoffStrategy."""


def main(pipe: Pipe, mesh: Mesh, numbers: tuple[int, ...]) -> None:
    """The process: proxies with these numbers."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        Fleet(pipe, mesh, numbers).run()


class Fleet:
    """The peers, the loop and what was noted."""

    def __init__(self, pipe: Pipe, mesh: Mesh, numbers: tuple[int, ...]) -> None:
        self._pipe = pipe
        self._poll = select.epoll()
        self._poll.register(pipe.fileno(), select.EPOLLIN)
        self._parser = Parser()
        # By descriptor; an entry stays until its number is given to another connection.
        self._connections: dict[int, Connection] = {}
        self._blocked: set[int] = set()
        self.peers = [Peer(n, mesh.namespace(n), introduction(mesh, n), _nowhere) for n in numbers]
        self._links: dict[int, Connection] = {}
        self._failures: dict[int, int] = {}
        self._again: list[tuple[float, Peer]] = []
        self._address = ""
        self._limit = len(self.peers)
        # (peer, type, when it was answered, bytes), in order of arrival
        self.notes: list[tuple[int, str, float, int]] = []
        self.bare_notes: list[float] = []
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._warm: dict[int, float] = {}
        self._endings: list[str] = []
        self._waiting: Callable[[], Any] | None = None

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the parent hangs up."""
        command, connections = self._pipe.fileno(), self._connections
        while True:
            for descriptor, event in self._poll.poll(self._patience()):
                if descriptor == command:
                    self._command()
                    continue
                connection = connections[descriptor]
                if connection.ended:
                    continue
                if event & ~select.EPOLLOUT:
                    connection.readable(_BUFFER)
                if event & select.EPOLLOUT and not connection.ended:
                    connection.writable()
                self._watch(descriptor, connection)
            self._reconnect_due()
            self._answer_if_done()

    def _patience(self) -> float:
        return max(0.0, min(when for when, _ in self._again) - time.monotonic()) if self._again else -1

    def _watch(self, descriptor: int, connection: Connection) -> None:
        if not connection.ended and connection.blocked != (descriptor in self._blocked):
            self._blocked.symmetric_difference_update((descriptor,))
            self._poll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if connection.blocked else 0))

    def _command(self) -> None:
        op, arguments = self._pipe.recv()
        self._waiting = getattr(self, f"do_{op}")(**arguments)

    def _answer_if_done(self) -> None:
        if self._waiting is not None and (value := self._waiting()) is not None:
            self._waiting = None
            self._pipe.send((True, value))

    # -- commands: each gives a function that gives the answer, or None while there is none -------

    def do_connect(self, address: str, limit: int | None = None) -> Callable[[], Any]:
        """Connect peers up to number `limit` that are not connected; answered when all are warm.

        Gives the seconds from now until each of them was warm.
        """
        self._address = address
        self._limit = len(self.peers) if limit is None else limit
        self._endings.clear()
        started = time.monotonic()
        fresh = [peer for peer in self.peers[: self._limit] if peer.number not in self._links]
        for peer in fresh:
            self._warm.pop(peer.number, None)
            self._connect(peer)

        def done() -> Any:
            if all(peer.number in self._warm for peer in fresh):
                seconds = sorted(self._warm[peer.number] - started for peer in fresh)
                return {"warm": seconds, "endings": list(self._endings)}
            return None

        return done

    def do_connect_bare(self, address: str) -> Callable[[], Any]:
        """Connect every peer to the bare loop as well."""
        for peer in self.peers:
            self._connect_bare(address, peer.scope)
        return lambda: True

    def do_notes(self) -> Callable[[], Any]:
        """What was noted since the last time."""
        notes, self.notes = self.notes, []
        bare, self.bare_notes = self.bare_notes, []
        return lambda: {"plane": notes, "bare": bare, "endings": list(self._endings)}

    def do_bodies(self, short: str) -> Callable[[], Any]:
        """The last response of a type by scope."""
        return lambda: {scope: body for (scope, kind), body in self._bodies.items() if kind == short}

    def do_forget(self) -> Callable[[], Any]:
        """Proxies that start anew have nothing."""
        for peer in self.peers:
            peer.holdings.clear()
        return lambda: True

    def do_drop(self) -> Callable[[], Any]:
        """Break all connections to the control plane."""
        for connection in self._links.values():
            connection.close()
        self._links.clear()
        self._again.clear()
        return lambda: True

    # -- connections ----------------------------------------------------------------------------

    def _open(
        self, address: str, on_message: Callable[[bytes], None], on_end: Callable[[str], None]
    ) -> Connection:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address.removeprefix("unix:"))
        sock.setblocking(False)
        connection = Connection(sock, on_message, on_end)
        descriptor = sock.fileno()
        self._connections[descriptor] = connection
        self._blocked.discard(descriptor)
        self._poll.register(descriptor, select.EPOLLIN)
        connection.open(DELTA_PATH)
        self._watch(descriptor, connection)
        return connection

    def _connect(self, peer: Peer) -> None:
        def take(data: bytes) -> None:
            at = time.monotonic()
            parsed, nonce = self._parser.parse(data)
            peer.take(parsed, nonce)
            self._note(peer, parsed, at, data)

        def end(reason: str) -> None:
            self._ended(peer, reason)

        try:
            connection = self._open(self._address, take, end)
        except OSError as error:
            end(str(error))
            return
        self._links[peer.number] = connection
        peer.send = connection.send
        peer.greet()

    def _note(self, peer: Peer, parsed: Parsed, at: float, data: bytes) -> None:
        short = BY_URL[parsed.url].short
        self.notes.append((peer.number, short, at, len(data)))
        self._bodies[peer.scope, short] = data
        if peer.number not in self._warm and peer.warm:
            self._warm[peer.number] = time.monotonic()
            self._failures.pop(peer.number, None)

    def _ended(self, peer: Peer, reason: str) -> None:
        self._endings.append(reason)
        self._links.pop(peer.number, None)
        failures = self._failures[peer.number] = self._failures.get(peer.number, 0) + 1
        wait = random.uniform(0, min(_BACKOFF * 2 ** (failures - 1), _BACKOFF_MAX))
        self._again.append((time.monotonic() + wait, peer))

    def _reconnect_due(self) -> None:
        if not self._again:
            return
        now = time.monotonic()
        due = [peer for when, peer in self._again if when <= now]
        self._again = [one for one in self._again if one[0] > now]
        for peer in due:
            self._connect(peer)

    def _connect_bare(self, address: str, scope: str) -> None:
        def take(data: bytes) -> None:
            at = time.monotonic()
            parsed, nonce = self._parser.parse(data)
            connection.send(acknowledgement(parsed, nonce))
            self.bare_notes.append(at)

        def end(reason: str) -> None:
            self._endings.append(f"bare: {reason}")

        connection = self._open(address, take, end)
        connection.send(scope.encode())


def _nowhere(message: bytes) -> None:
    raise AssertionError("not connected")
