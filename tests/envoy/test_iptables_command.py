"""`mini-istiod iptables` in real network namespaces: where connections arrive, and what else is left alone.

Two namespaces with a cable between: the workload's, with the rules, and a peer's.  No Envoy: whoever listens
on 15001 and 15006 shows what Envoy would get.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from pyroute2 import IPRoute

from controlplane.lab import netns

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="needs iptables"),
]

APP, ENVOY = 1000, 1337
HERE, THERE, ELSEWHERE = "10.99.0.2", "10.99.0.3", "10.99.0.77"
HERE6, THERE6 = "fd99::2", "fd99::3"
RESOLVER = "127.0.0.11"
RULES = ("-A PREROUTING -p tcp -j ISTIO_INBOUND", "-A OUTPUT -p tcp -j ISTIO_OUTPUT")
_ORIGINAL_DST = 80
_NODAD = 2
_numbers = itertools.count(1)


class Arrival(NamedTuple):
    """Where a connection came out, and where it was meant to go."""

    port: int
    meant: tuple[str, int]


class Pair:
    """The two namespaces; `listen` before connections are made."""

    def __init__(self) -> None:
        number = f"{os.getpid()}-{next(_numbers)}"
        self.workload, self.peer = f"mi-xt-{number}-w", f"mi-xt-{number}-p"
        self._listening: list[socket.socket] = []

    def lay(self) -> None:
        for name in (self.workload, self.peer):
            netns.create(name)
        netns.inside(self.peer, lambda: _cable(self.workload))
        netns.inside(self.workload, lambda: _configure(HERE, HERE6))
        netns.inside(self.peer, lambda: _configure(THERE, THERE6))

    def clear(self) -> None:
        for one in self._listening:
            one.close()
        for name in (self.workload, self.peer):
            netns.remove(name)

    def listen(self, port: int, host: str = "0.0.0.0", name: str = "") -> None:
        def made() -> socket.socket:
            return socket.create_server((host, port), family=_family(host))

        one = netns.inside(name or self.workload, made)
        one.settimeout(5)
        self._listening.append(one)

    def run(self, *words: str, status: int = 0) -> str:
        """The command's output in the workload's namespace."""
        command = [sys.executable, "-m", "controlplane", "iptables", *words]
        done = self._inside(command)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def xtables(self, *words: str) -> str:
        done = self._inside(list(words))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _inside(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        return netns.inside(self.workload, run)

    def call(self, host: str, port: int, uid: int = APP, name: str = "") -> socket.socket:
        """A connection of a user, from the workload or from a peer."""

        def connect() -> socket.socket:
            # Of this thread alone.  The kernel asks who opened the socket, by these two.
            libc = ctypes.CDLL(None)
            libc.setfsgid(uid)
            libc.setfsuid(uid)
            made = socket.socket(_family(host))
            libc.setfsuid(os.getuid())
            try:
                made.settimeout(5)
                made.connect((host, port))
            except OSError:
                made.close()
                raise
            return made

        return netns.inside(name or self.workload, connect)

    def arrival(self, host: str, port: int, uid: int = APP, name: str = "") -> Arrival:
        """Where a connection arrives; ConnectionRefusedError when nobody listens there."""
        with self.call(host, port, uid, name) as sent:
            sent.sendall(b"x")
            for one in self._listening:
                one.settimeout(0.0)
                try:
                    taken, _ = one.accept()
                except BlockingIOError:
                    continue
                with taken:
                    return Arrival(one.getsockname()[1], _meant(taken))
        raise AssertionError("it was accepted by nobody here")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _meant(taken: socket.socket) -> tuple[str, int]:
    try:
        raw = taken.getsockopt(socket.SOL_IP, _ORIGINAL_DST, 16)
    except OSError:  # nothing was redirected
        host, port = taken.getsockname()
        return host, port
    port, address = struct.unpack("!2xH4s8x", raw)
    return socket.inet_ntoa(address), port


def _cable(other: str) -> None:
    descriptor = os.open(netns.NAMES / other, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with IPRoute() as netlink:
            netlink.link("add", ifname="eth0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": descriptor})
    finally:
        os.close(descriptor)


def _configure(address: str, address6: str) -> None:
    with IPRoute() as netlink:
        for name in ("lo", "eth0"):
            index = netlink.link_lookup(ifname=name)[0]
            netlink.link("set", index=index, state="up")
        netlink.addr("add", index=index, address=address, prefixlen=24)
        netlink.addr("add", index=index, address=address6, prefixlen=64, flags=_NODAD)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    with ExitStack() as after:
        after.callback(made.clear)
        made.lay()
        yield made


def rules(text: str) -> list[str]:
    """The rules and chains of a listing, without counters and comments."""
    return [line.partition(" [")[0] for line in text.splitlines() if not line.startswith("#")]


def test_connections_arrive_where_envoy_would_be(pair: Pair) -> None:
    assert pair.run() == ("IPv4: redirected to 15001 and 15006\nIPv6: redirected to 15001 and 15006\n")
    for port in (15001, 15006, 15021, 8080):
        pair.listen(port)
    pair.listen(53, RESOLVER)
    pair.listen(80, name=pair.peer)
    # The workload calls somebody, who need not be there.
    assert pair.arrival(ELSEWHERE, 80) == (15001, (ELSEWHERE, 80))
    assert pair.arrival(THERE, 80) == (15001, (THERE, 80))
    # Envoy does, and gets there.
    assert pair.arrival(THERE, 80, ENVOY) == (80, (THERE, 80))
    # Somebody calls the workload, and asks Envoy itself whether it is ready.
    assert pair.arrival(HERE, 8080, name=pair.peer) == (15006, (HERE, 8080))
    assert pair.arrival(HERE, 15001, name=pair.peer) == (15006, (HERE, 15001))
    assert pair.arrival(HERE, 15021, name=pair.peer) == (15021, (HERE, 15021))
    # The workload calls itself: directly, and by way of Envoy, which has chosen it among others.
    assert pair.arrival("127.0.0.1", 8080) == (8080, ("127.0.0.1", 8080))
    assert pair.arrival(HERE, 8080) == (8080, (HERE, 8080))
    assert pair.arrival(HERE, 8080, ENVOY) == (15006, (HERE, 8080))
    # Docker's DNS answers both.
    assert pair.arrival(RESOLVER, 53) == (53, (RESOLVER, 53))
    assert pair.arrival(RESOLVER, 53, ENVOY) == (53, (RESOLVER, 53))


def test_what_is_left_out_goes_its_way(pair: Pair) -> None:
    pair.run("-d", "22", "-o", "25", "-x", f"{ELSEWHERE},{THERE}")
    for port in (15001, 15006, 22):
        pair.listen(port)
    pair.listen(25, name=pair.peer)
    pair.listen(80, name=pair.peer)
    assert pair.arrival(HERE, 22, name=pair.peer).port == 22
    assert pair.arrival(THERE, 25).port == 25
    assert pair.arrival(THERE, 80).port == 80
    assert pair.arrival("10.99.0.78", 80).port == 15001


def test_again_it_leaves_what_it_left_and_the_rules_of_others(pair: Pair) -> None:
    # As Docker has them in a container.
    pair.xtables("iptables-nft", "-t", "nat", "-N", "DOCKER_OUTPUT")
    dns = ("-d", f"{RESOLVER}/32", "-p", "udp", "--dport", "53")
    pair.xtables(*("iptables-nft", "-t", "nat", "-A", "DOCKER_OUTPUT", *dns, "-j", "DNAT"), "--to", ":5353")
    pair.xtables(*("iptables-nft", "-t", "nat", "-A", "OUTPUT", "-d", RESOLVER, "-j", "DOCKER_OUTPUT"))
    before = rules(pair.xtables("iptables-nft-save", "-t", "nat"))
    pair.run()
    once = rules(pair.xtables("iptables-nft-save", "-t", "nat"))
    assert [line for line in once if "ISTIO" not in line] == before
    assert [line for line in once if line in RULES] == list(RULES)
    # Rules of another time are replaced, and a connection that stands goes on.
    pair.listen(15001)
    with pair.call(ELSEWHERE, 80) as standing:
        pair.run("-o", "25")
        assert rules(pair.xtables("iptables-nft-save", "-t", "nat")) != once
        pair.run()
        standing.sendall(b"x")
    assert rules(pair.xtables("iptables-nft-save", "-t", "nat")) == once
    pair.run("--cleanup-only")
    assert rules(pair.xtables("iptables-nft-save", "-t", "nat")) == before
    assert "ISTIO" not in pair.xtables("ip6tables-nft-save", "-t", "nat")
    pair.run("--cleanup-only")  # nothing to do is no failure


def test_ipv6_does_not_lead_around_the_proxy(pair: Pair) -> None:
    pair.listen(8080, "::")
    pair.listen(80, "::", name=pair.peer)
    for host, name in ((HERE6, pair.peer), (THERE6, "")):
        with pair.call(host, 8080 if name else 80, name=name):
            pass
    pair.run()
    # Envoy listens on IPv4 alone, as the control plane tells it to; so IPv6 ends at a closed door.
    pair.listen(15001)
    pair.listen(15006)
    for host, name in ((HERE6, pair.peer), (THERE6, "")):
        with pytest.raises(ConnectionRefusedError):
            pair.call(host, 8080 if name else 80, name=name)
    with pair.call("::1", 8080), pair.call(THERE6, 80, ENVOY):
        pass


def legacy_works() -> bool:
    command = ["unshare", "--net", "iptables-legacy", "-t", "nat", "-S"]
    if shutil.which("iptables-legacy") is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not legacy_works(), reason="this kernel, or this machine, has no legacy tables")
def test_rules_go_where_an_older_docker_has_its_own(pair: Pair) -> None:
    dns = ("-d", f"{RESOLVER}/32", "-p", "udp", "--dport", "53")
    pair.xtables(*("iptables-legacy", "-t", "nat", "-A", "OUTPUT", *dns, "-j", "DNAT"), "--to", ":5353")
    pair.run()
    pair.run()
    legacy = rules(pair.xtables("iptables-legacy-save", "-t", "nat"))
    assert [line for line in legacy if line in RULES] == list(RULES)
    assert "ISTIO" not in pair.xtables("iptables-nft-save", "-t", "nat")
    for port in (15001, 15006):
        pair.listen(port)
    assert pair.arrival(ELSEWHERE, 80) == (15001, (ELSEWHERE, 80))
    assert pair.arrival(HERE, 80, name=pair.peer) == (15006, (HERE, 80))
    pair.run("--cleanup-only")
    assert "ISTIO" not in pair.xtables("iptables-legacy-save", "-t", "nat")


def test_a_machines_own_namespace_is_left_alone(pair: Pair) -> None:
    def bridge() -> Any:
        with IPRoute() as netlink:
            return netlink.link("add", ifname="docker0", kind="bridge")

    netns.inside(pair.workload, bridge)
    assert "it has the interface docker0" in pair.run(status=2)
    assert "ISTIO" not in pair.xtables("iptables-nft-save", "-t", "nat")
