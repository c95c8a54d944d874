"""The proxies of one process: who is connected, what they answer and when, and what they received."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import BY_URL
from controlplane.lab.fleet import sockets
from controlplane.lab.fleet.behaviour import draw
from controlplane.lab.fleet.http2 import Connection
from controlplane.lab.fleet.loop import Loop
from controlplane.lab.fleet.options import Ending, FleetOptions, Receipt
from controlplane.lab.fleet.peer import SERVED, Peer
from controlplane.lab.fleet.requests import VARIANTS, names
from controlplane.lab.fleet.responses import Parser, Response

_SHORT = {url: BY_URL[url].short for url in SERVED}


class Member:
    """A proxy of the fleet, and its connection."""

    __slots__ = (
        *("connection", "counts", "due", "failures", "heard", "name", "open"),
        *("peer", "secured", "wanted", "warm"),
    )

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self.peer = peer
        self.connection: Connection | None = None
        self.wanted = False
        """Whether it is to be connected: it comes back when its stream ends."""
        self.warm: float | None = None
        """Since when it has all that it asked for; monotonic seconds."""
        self.secured: float | None = None
        """When it had all of its secrets; monotonic seconds."""
        self.heard = 0.0
        """When it connected, or the last response came; monotonic seconds."""
        self.failures = 0
        self.counts = dict.fromkeys(SERVED, 0)
        """Responses by type, since the process began."""
        self.due = 0.0
        """When its last answer is due: a proxy answers in order."""
        self.open: list[Receipt] = []
        """Receipts whose answers are due, in order."""


class Proxies:
    """All of them on one loop; what they received gathers in `receipts` and `endings`."""

    def __init__(self, address: str, nodes: Sequence[Node], options: FleetOptions) -> None:
        variant = VARIANTS[options.protocol]
        self._address = address
        self._options = options
        self._path = variant.path
        self.behaviour = options.behaviour
        self.parser = Parser(delta=variant.delta)
        self.loop = Loop()
        hosts = names(frozenset(options.hosts if variant.delta else ()))
        every = [(f"{node.name}.{node.namespace}", node) for node in nodes]
        secrets = names(frozenset(options.secrets))
        self.members = {
            name: Member(name, Peer(variant, variant.node(node), hosts, secrets)) for name, node in every
        }
        self._context = None if options.tls is None else options.tls.context()
        self.receipts: list[Receipt] = []
        self.endings: list[Ending] = []
        self.last = 0.0
        """When the last response came; monotonic seconds."""
        self.on_response: Callable[[Member, Response, bytes], None] | None = None
        """Told of every response, for those who need its bytes."""

    def connect(self, who: Iterable[str]) -> None:
        """Connect proxies that are not; from now on they come back by themselves."""
        for member in self._named(who):
            if not member.wanted:
                member.wanted = True
                member.failures = 0
                self._connect(member)

    def drop(self, who: Iterable[str]) -> None:
        """Break connections; these proxies stay away."""
        for member in self._named(who):
            member.wanted = False
            if member.connection is not None:
                member.connection.close()
                self._gone(member)

    def forget(self, who: Iterable[str]) -> None:
        """These proxies have nothing any more; ValueError when one of them is connected."""
        for member in self._named(who):
            if member.wanted:
                raise ValueError(f"{member.name} is connected")
            member.peer.forget()

    def stall(self, who: Iterable[str], stalled: bool) -> None:
        """Let proxies read nothing, or read again."""
        for member in self._named(who):
            if member.connection is not None:
                self.loop.deafen(member.connection, stalled)

    def open(
        self,
        address: str,
        on_message: Callable[[bytes], None],
        on_end: Callable[[str], None],
        name: str = "",
    ) -> Connection:
        """A connection on the loop, of the proxy of this name; OSError when nobody is there."""
        where = sockets.parse(address)
        tls = self._options.tls
        sock = sockets.secure(sockets.connect(where), self._context, tls.name if tls is not None else "")
        connection = Connection(sock, on_message, on_end)
        connection.open(self._path, where.authority, self._metadata(name))
        if not connection.ended:
            # A server that has just gone away resets the connection with the first write.
            self.loop.add(connection)
        return connection

    def _named(self, who: Iterable[str]) -> list[Member]:
        return [self.members[name] for name in who]

    def _metadata(self, name: str) -> list[tuple[str, str]]:
        token = self._options.token
        text = token.get(name) if isinstance(token, Mapping) else token
        text = text.read_text().strip() if isinstance(text, Path) else text
        return [*([("authorization", f"Bearer {text}")] if text else []), *self._options.metadata]

    # -- a connection's life --------------------------------------------------------------------

    def _connect(self, member: Member) -> None:
        try:
            take, ended = partial(self._take, member), partial(self._ended, member)
            connection = self.open(self._address, take, ended, member.name)
        except OSError as error:
            self._ended(member, error.strerror or str(error))
            return
        if connection.ended:
            return
        member.connection = connection
        member.heard = time.monotonic()
        connection.send(*member.peer.greet())
        self.loop.attend(connection)
        self.loop.later(self._options.listeners_after, partial(self._listeners, member, connection))
        if self._options.silence is not None:
            self.loop.later(self._options.silence, partial(self._assume, member, connection))
        if (stall := self.behaviour.stalls(member.name)) is not None:
            self.loop.later(stall.every, partial(self._deafen, connection, True, stall))

    def _listeners(self, member: Member, connection: Connection) -> None:
        if member.connection is connection and (requests := member.peer.listeners()):
            connection.send(*requests)
            self.loop.attend(connection)

    def _assume(self, member: Member, connection: Connection) -> None:
        if member.connection is connection and member.warm is None and member.peer.complete:
            member.warm = member.heard

    def _deafen(self, connection: Connection, deaf: bool, stall: Any) -> None:
        if not connection.ended:
            self.loop.deafen(connection, deaf)
            self.loop.later(
                stall.seconds if deaf else stall.every, partial(self._deafen, connection, not deaf, stall)
            )

    def _gone(self, member: Member) -> None:
        member.connection = None
        member.warm = member.secured = None
        member.due = 0.0
        # What was not answered never will be.
        self.receipts += member.open
        member.open.clear()

    def _ended(self, member: Member, reason: str) -> None:
        self.endings.append(Ending(member.name, time.monotonic(), reason))
        self._gone(member)
        member.failures += 1
        least, most = self._options.backoff
        share = draw(self.behaviour.seed, "backoff", member.name, member.failures)
        wait = share * min(least * 2.0 ** min(member.failures - 1, 32), most)
        self.loop.later(wait, partial(self._again, member))

    def _again(self, member: Member) -> None:
        if member.wanted and member.connection is None:
            self._connect(member)

    # -- responses ------------------------------------------------------------------------------

    def _take(self, member: Member, data: bytes) -> None:
        at = self.last = member.heard = time.monotonic()
        response = self.parser.parse(data)
        content = response.content
        short = _SHORT.get(content.url)
        connection = member.connection
        if short is None or connection is None:
            # A type that nobody asked for.
            return
        behaviour = self.behaviour
        error, delay = None, 0.0
        if not behaviour.prompt:
            member.counts[content.url] = count = member.counts[content.url] + 1
            error = behaviour.verdict(member.name, short, count, content.found)
            delay = behaviour.delay(member.name, short, count)
        requests, markers = member.peer.take(response, error)
        due = max(member.due, at + delay)
        answered = None
        if due <= at:
            # Before it is sent: the server may have read it before this process has its next turn.
            answered = time.monotonic()
            connection.send(*requests)
        counts = (len(data), len(content.found), len(content.removed))
        receipt = Receipt(member.name, short, at, *counts, markers, answered, error is None)
        if answered is not None:
            self.receipts.append(receipt)
        else:
            member.due = due
            member.open.append(receipt)
            self.loop.later(due - at, partial(self._answer, member, connection, requests))
        if self.on_response is not None:
            self.on_response(member, response, data)
        if member.secured is None and member.peer.secrets.all and member.peer.secured:
            member.secured = at
        if member.warm is None and member.peer.warm:
            member.warm = time.monotonic()
            member.failures = 0

    def _answer(self, member: Member, connection: Connection, requests: list[bytes]) -> None:
        if member.connection is connection:
            self.receipts.append(member.open.pop(0)._replace(answered=time.monotonic()))
            connection.send(*requests)
            self.loop.attend(connection)
