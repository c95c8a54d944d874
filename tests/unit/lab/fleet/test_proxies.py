"""Proxies on their loop, over pairs of sockets: who is connected, who answers when, what is told of it."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, SECRET
from controlplane.lab.fleet import Behaviour, FleetOptions, Stall, sockets
from controlplane.lab.fleet.proxies import Proxies
from tests.unit.lab.fleet.answers import DELTA, cluster, response, secret

NODES = [Node(f"10.0.0.{n}", f"p{n}", "ns") for n in range(1, 4)]
WHO = ["p1.ns", "p2.ns", "p3.ns"]


class Site:
    """Proxies, and the far ends of their connections, oldest first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends: list[socket.socket] = []
        self.refuse = False
        monkeypatch.setattr(sockets, "connect", self._connect)
        self._nonce = 0
        self.proxies = Proxies("unix:/nowhere", NODES, FleetOptions())

    def set_up(self, **options) -> Proxies:
        self.proxies = Proxies("unix:/nowhere", NODES, FleetOptions(**options))
        return self.proxies

    def _connect(self, _: object) -> socket.socket:
        if self.refuse:
            raise ConnectionRefusedError(111, "Connection refused")
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.ends.append(far)
        return near

    def tell(self, end: int, size: int = 1) -> None:
        """Send clusters to a proxy."""
        self._nonce += 1
        bodies = {f"c{n}": cluster(f"c{n}", self._nonce) for n in range(size)}
        self.send(end, response(DELTA, CLUSTER, f"{self._nonce}", bodies))

    def send(self, end: int, data: bytes) -> None:
        """Send a response to a proxy."""
        data = struct.pack(">BI", 0, len(data)) + data
        self.ends[end].send(struct.pack(">IBI", len(data) << 8, 0, 1) + data)

    def said(self, end: int) -> bytes:
        found = b""
        while True:
            try:
                data = self.ends[end].recv(1 << 20)
            except BlockingIOError:
                return found
            if not data:
                return found
            found += data

    def run(self, until: Callable[[], object], seconds: float = 5.0) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline
            self.proxies.loop.turn(0.01)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(monkeypatch)
    yield made
    made.proxies.drop(WHO)
    for end in made.ends:
        end.close()


def test_answers_keep_their_order(site: Site) -> None:
    proxies = site.set_up(behaviour=Behaviour(ack_delay=0.05))
    proxies.connect(WHO[:1])
    site.tell(0)
    site.run(lambda: len(proxies.members[WHO[0]].open) == 1)
    # The second is ready at once, but waits for the first.
    proxies.behaviour = Behaviour(ack_delay=0.0001)
    site.tell(0)
    site.run(lambda: len(proxies.receipts) == 2)
    first, second = proxies.receipts
    assert first.at < second.at < first.answered <= second.answered
    assert first.answered - first.at >= 0.05


def test_what_was_not_answered_is_told_without_an_answer(site: Site) -> None:
    proxies = site.set_up(behaviour=Behaviour(ack_delay=60.0))
    proxies.connect(WHO[:2])
    site.tell(0)
    site.tell(1)
    site.run(lambda: all(proxies.members[name].open for name in WHO[:2]))
    assert proxies.receipts == []
    proxies.drop(WHO[:1])
    site.ends[1].close()
    site.run(lambda: proxies.endings)
    assert [(one.proxy, one.answered) for one in proxies.receipts] == [(WHO[0], None), (WHO[1], None)]


def test_a_proxy_has_one_connection(site: Site) -> None:
    proxies = site.set_up(backoff=(0.02, 0.02))
    proxies.connect(WHO)
    assert len(site.ends) == 3
    proxies.connect(WHO)
    assert len(site.ends) == 3
    # Its stream ends; before it comes back by itself, it is dropped and connected.
    site.ends[0].close()
    site.run(lambda: proxies.endings)
    proxies.drop(WHO[:1])
    proxies.connect(WHO[:1])
    assert len(site.ends) == 4
    until = time.monotonic() + 0.1
    site.run(lambda: time.monotonic() > until)
    assert len(site.ends) == 4
    # One that is dropped stays away.
    site.ends[1].close()
    site.run(lambda: len(proxies.endings) == 2)
    proxies.drop(WHO[1:2])
    until = time.monotonic() + 0.1
    site.run(lambda: time.monotonic() > until)
    assert len(site.ends) == 4


def test_refused_connections_are_tried_again(site: Site) -> None:
    proxies = site.set_up(backoff=(0.01, 0.02))
    site.refuse = True
    proxies.connect(WHO[:1])
    site.run(lambda: len(proxies.endings) > 3)
    assert {ending.reason for ending in proxies.endings} == {"Connection refused"}
    site.refuse = False
    site.run(lambda: site.ends)


def test_a_new_connection_hears(site: Site) -> None:
    # Descriptors are given out again: deafness must not be.
    proxies = site.set_up()
    proxies.connect(WHO[:1])
    proxies.stall(WHO, True)
    site.tell(0)
    proxies.loop.turn(0.02)
    assert proxies.receipts == []
    proxies.drop(WHO[:1])
    proxies.connect(WHO[:1])
    site.tell(1)
    site.run(lambda: proxies.receipts)


def test_a_proxy_stalls_again_and_again(site: Site) -> None:
    proxies = site.set_up(behaviour=Behaviour(stall=Stall(share=1.0, seconds=0.1, every=0.1)))
    proxies.connect(WHO[:1])
    began = time.monotonic()
    site.run(lambda: time.monotonic() > began + 0.12)
    site.tell(0)
    site.run(lambda: proxies.receipts)
    assert proxies.receipts[0].at > began + 0.19


def test_listeners_do_not_wait_for_ever(site: Site) -> None:
    proxies = site.set_up(listeners_after=0.05)
    proxies.connect(WHO[:1])
    began = time.monotonic()
    site.tell(0)
    said = b""

    def asked() -> bool:
        nonlocal said
        said += site.said(0)
        return LISTENER.encode() in said

    site.run(asked)
    assert time.monotonic() > began + 0.04
    assert ENDPOINT.encode() in said


def test_what_does_not_fit_is_sent_later(site: Site) -> None:
    proxies = site.set_up()
    proxies.connect(WHO[:1])
    connection = proxies.members[WHO[0]].connection
    assert connection is not None
    window = struct.pack(">IBI", 4 << 8 | 8, 0, 0) + struct.pack(">I", 2**30)
    settings = struct.pack(">IBI", 6 << 8 | 4, 0, 0) + struct.pack(">HI", 4, 2**30)
    site.ends[0].send(window + settings)
    proxies.loop.turn(0.05)
    connection.send(bytes(2_000_000))
    proxies.loop.attend(connection)
    assert connection.blocked
    total = 0

    def read() -> bool:
        nonlocal total
        total += len(site.said(0))
        return total > 2_000_000

    site.run(read)
    assert not connection.blocked


def test_each_proxy_sends_its_own_token(site: Site) -> None:
    proxies = site.set_up(token={"p1.ns": "one", "p2.ns": "two"})
    proxies.connect(WHO)
    first, second, third = (site.said(end) for end in range(3))
    assert b"Bearer one" in first
    assert b"Bearer two" in second
    assert b"authorization" not in third


def test_when_a_proxy_has_its_secrets_is_noted(site: Site) -> None:
    proxies = site.set_up(secrets=("default",))
    proxies.connect(["p1.ns"])
    member = proxies.members["p1.ns"]
    site.tell(0)
    site.run(lambda: CLUSTER in member.peer.holdings)
    assert member.secured is None
    site.send(0, response(DELTA, SECRET, "s", {"default": secret("default")}))
    site.run(lambda: member.secured is not None)
    proxies.drop(["p1.ns"])
    assert member.secured is None
