"""Asking through every proxy at a steady rate, and noting what each answer shows.

One process asks for all proxies: a socket made in a proxy's network namespace stays there, so one loop
can serve them all.  Each proxy has one kept-alive connection, on which a request follows the other at
the rate that was asked for; the proxies take turns, so that load is even.  A request that is still
unanswered when the next one is due delays that one: nothing is ever sent in bursts.
"""

from __future__ import annotations

import contextlib
import gc
import re
import select
import socket
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

from controlplane.lab import netns
from controlplane.lab.churn import markers
from controlplane.lab.fetch import Target

_TIMEOUT = 1.0
"""Seconds after which a request has failed."""
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_ENDPOINT = re.compile(rb"11\.(\d+)\.(\d+)\.(\d+) ")


class Sample(NamedTuple):
    """One request: who asked (its index), when it was sent and answered (monotonic seconds), the status (0:
    no answer), and the change numbers of the endpoint and of the route that served it (0: none)."""

    proxy: int
    sent: float
    received: float
    status: int = 0
    endpoint: int = 0
    route: int = 0


class Question(NamedTuple):
    """What all proxies are asked: a host, at its service's address."""

    host: str
    address: str
    port: int

    @property
    def request(self) -> bytes:
        return b"GET / HTTP/1.1\r\nhost: %s\r\n\r\n" % self.host.encode()


class Link:
    """One proxy's connection; at most one request is under way."""

    def __init__(self, number: int, space: str) -> None:
        self.number = number
        self.sent: float | None = None
        self._space = space
        self._socket: socket.socket | None = None
        self._buffer = b""

    def ask(self, question: Question, poll: select.epoll, by: dict[int, Link]) -> Sample | None:
        """Send a request; gives the failure when there is no connection to be had."""
        now = time.monotonic()
        try:
            if self._socket is None:
                self._open(question, poll, by)
            assert self._socket is not None
            self.sent = time.monotonic()
            self._socket.send(question.request)
        except OSError:
            self.close(poll, by)
            return Sample(self.number, now, time.monotonic())
        return None

    def read(self, poll: select.epoll, by: dict[int, Link]) -> Sample | None:
        """Take in what has come; gives the sample once its answer is whole, or failed."""
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        now = time.monotonic()
        if not data:
            return self.fail(poll, by)
        self._buffer += data
        sample = None
        if self.sent is not None and (shown := parsed(self._buffer)) is not None:
            sample = Sample(self.number, self.sent, now, *shown)
            self._buffer, self.sent = b"", None
        return sample

    def fail(self, poll: select.epoll, by: dict[int, Link]) -> Sample | None:
        """Give the connection up, and the request that is under way on it."""
        sent = self.sent
        self.close(poll, by)
        return None if sent is None else Sample(self.number, sent, time.monotonic())

    def close(self, poll: select.epoll, by: dict[int, Link]) -> None:
        """No connection from here on; the next request opens one."""
        if self._socket is not None:
            poll.unregister(self._socket)
            del by[self._socket.fileno()]
            self._socket.close()
        self._socket, self._buffer, self.sent = None, b"", None

    def _open(self, question: Question, poll: select.epoll, by: dict[int, Link]) -> None:
        link = netns.connect(self._space, question.address, question.port, _TIMEOUT)
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = link
        by[link.fileno()] = self
        poll.register(link, select.EPOLLIN)


def parsed(data: bytes) -> tuple[int, int, int] | None:
    """Status, endpoint's and route's change number of a response; None while it is not whole."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head)
    if len(body) < (int(length[1]) if length else 0):
        return None
    status = int(head[9:12])
    if status != 200:
        return status, 0, 0
    octets = _ENDPOINT.match(body)
    endpoint = int(octets[1]) << 16 | int(octets[2]) << 8 | int(octets[3]) if octets else 0
    return status, endpoint, max(markers.found(body), default=0) if b"change-" in body else 0


class Prober:
    """The loop: commands from the pipe, answers from the proxies, requests when they are due."""

    def __init__(self, pipe: Pipe, spaces: tuple[str, ...], rate: float) -> None:
        self._pipe = pipe
        self._interval = 1.0 / rate
        self._links = [Link(number, space) for number, space in enumerate(spaces)]
        self._poll = select.epoll()
        self._poll.register(pipe.fileno(), select.EPOLLIN)
        self._by: dict[int, Link] = {}
        self._question: Question | None = None
        self._samples: list[Sample] = []
        self._due: list[float] = []

    def run(self) -> None:
        """Until the parent hangs up."""
        command, by = self._pipe.fileno(), self._by
        while True:
            for descriptor, _ in self._poll.poll(self._patience()):
                if descriptor == command:
                    self._obey()
                elif (link := by.get(descriptor)) is not None:
                    self._note(link.read(self._poll, by))
            if self._question is not None:
                self._ask(self._question)

    def _patience(self) -> float:
        return -1.0 if self._question is None else max(0.0, min(self._due) - time.monotonic())

    def _obey(self) -> None:
        op, arguments = self._pipe.recv()
        self._pipe.send((True, getattr(self, f"do_{op}")(**arguments)))

    def do_watch(self, target: Target, host: str) -> bool:
        """Begin to ask."""
        self._stop()
        self._question = Question(host, target.host, target.port)
        begin, count = time.monotonic(), len(self._links)
        self._due = [begin + self._interval * number / count for number in range(count)]
        return True

    def do_samples(self) -> list[tuple[Any, ...]]:
        """What was answered since the last time."""
        samples, self._samples = self._samples, []
        return [tuple(sample) for sample in samples]

    def do_stop(self) -> list[tuple[Any, ...]]:
        """Ask no more; gives the last samples."""
        self._stop()
        return self.do_samples()

    def do_cpu(self) -> float:
        """Seconds of CPU that asking has taken so far."""
        return time.process_time()

    def _stop(self) -> None:
        self._question = None
        for link in self._links:
            link.close(self._poll, self._by)

    def _ask(self, question: Question) -> None:
        now = time.monotonic()
        for link, due in zip(self._links, self._due, strict=True):
            if now < due:
                continue
            if link.sent is not None:
                if now - link.sent > _TIMEOUT:
                    self._note(link.fail(self._poll, self._by))
                else:
                    self._due[link.number] = now + self._interval
                continue
            self._note(link.ask(question, self._poll, self._by))
            # On the beat, unless a whole one was missed.
            late = now - due
            self._due[link.number] = due + self._interval if late < self._interval else now + self._interval

    def _note(self, sample: Sample | None) -> None:
        if sample is not None:
            self._samples.append(sample)


def main(pipe: Pipe, spaces: tuple[str, ...], rate: float) -> None:
    """The process: one proxy in each of these network namespaces, `rate` requests a second through each."""
    # Nothing here is circular, and a collection would be in the way.
    gc.disable()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        Prober(pipe, spaces, rate).run()
