"""The wire between pods: one bridge, in a namespace of its own.

The host's own namespace stays untouched: no address, no route, no firewall rule.  So two labs may use
the same addresses at once, nothing that the host filters (Docker's FORWARD policy) drops traffic
between pods, nothing can leak out, and all of it is gone when the namespaces are.

The addresses are those that kubeadm users know: pods in 10.244.0.0/16, services in 10.96.0.0/16.  A
service address exists nowhere: pods have a default route that leads to it, because the kernel looks
for a route before it asks the redirect rules.

Beside the pods there is the rest of the world, each part behind the same bridge in a network of its own:
machines that belong to the mesh without being in the cluster, and what is outside of both.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import netns

PODS = ipaddress.IPv4Network("10.244.0.0/16")
SERVICES = ipaddress.IPv4Network("10.96.0.0/16")
MACHINES = ipaddress.IPv4Network("192.168.64.0/24")
"""Virtual machines that have joined the mesh."""
OUTSIDE = ipaddress.IPv4Network("203.0.113.0/24")
"""Where servers live that know nothing of the mesh (RFC 5737: addresses that nobody has)."""
CONTROL_PLANE = str(PODS[-2])
"""Where a control plane that lives in the fabric is found: the last address, far from the pods'."""

_BRIDGE = "pods"
_NETWORKS = {PODS: "p", MACHINES: "m", OUTSIDE: "o"}  # and how the bridge's ports to them begin
_POD_SIDE = "eth0"


def pod_address(number: int) -> str:
    """The address of the pod with this number, counted from 0."""
    return str(PODS[number + 2])


def service_address(number: int) -> str:
    """The virtual address of the service with this number, counted from 0."""
    return str(SERVICES[number + 10])


def create(fabric: str) -> None:
    """Make the namespace `fabric` with the bridge in it."""
    netns.create(fabric)
    netns.inside(fabric, _build_bridge)


def attach(fabric: str, pod: str, address: str) -> None:
    """Make the namespace `pod` and plug it into the fabric with `address`, one of any of its networks."""
    netns.create(pod)
    descriptor = os.open(netns.NAMES / pod, os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.inside(fabric, lambda: _plug(descriptor, _port_name(address)))
    finally:
        os.close(descriptor)
    netns.inside(pod, lambda: _configure(address))


def detach(fabric: str, pod: str, address: str) -> None:
    """Unplug a pod and forget its namespace; name and address may be used again at once.

    The kernel takes down a namespace's devices when it finds the time; the plug goes right now.
    """
    netns.inside(fabric, lambda: _unplug(_port_name(address)))
    netns.remove(pod)


def switch(fabric: str, address: str, on: bool) -> None:
    """Cut the pod at `address` off, or join it again: what is sent there is lost, as when a machine dies."""
    netns.inside(fabric, lambda: _switch(_port_name(address), on))


def lead(fabric: str, pod: str, address: str, networks: tuple[str, ...]) -> None:
    """Let the pod at `address` answer for every address of these networks ("11.0.0.0/8")."""
    netns.inside(fabric, lambda: _send_on(address, networks))
    netns.inside(pod, lambda: _own(networks))


def _switch(port: str, on: bool) -> None:
    with _routes() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=port)[0], state="up" if on else "down")


def _send_on(gateway: str, networks: tuple[str, ...]) -> None:
    with _routes() as netlink:
        for network in networks:
            netlink.route("add", dst=network, gateway=gateway)


def _own(networks: tuple[str, ...]) -> None:
    with _routes() as netlink:
        loopback = netlink.link_lookup(ifname="lo")[0]
        for network in networks:
            # As `ip route add local NETWORK dev lo`.
            netlink.route("add", dst=network, oif=loopback, type="local", scope="host", table=255)


def _build_bridge() -> None:
    _no_ipv6()
    # A packet for a place that does not exist is answered (unreachable) instead of swallowed: the
    # fabric forwards and has no other route.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with _routes() as netlink:
        _up(netlink, "lo")
        netlink.link("add", ifname=_BRIDGE, kind="bridge")
        index = _up(netlink, _BRIDGE)
        for network in _NETWORKS:
            netlink.addr("add", index=index, address=str(network[1]), prefixlen=network.prefixlen)
    # From one network to another it goes through one port; nobody is to be told of a shorter way.
    for port in ("all", _BRIDGE):
        Path(f"/proc/sys/net/ipv4/conf/{port}/send_redirects").write_text("0")


def _plug(pod_descriptor: int, port: str) -> None:
    with _routes() as netlink:
        peer = {"ifname": _POD_SIDE, "net_ns_fd": pod_descriptor}
        netlink.link("add", ifname=port, kind="veth", peer=peer)
        bridge = netlink.link_lookup(ifname=_BRIDGE)[0]
        netlink.link("set", index=netlink.link_lookup(ifname=port)[0], master=bridge, state="up")


def _unplug(port: str) -> None:
    with _routes() as netlink:
        netlink.link("del", index=netlink.link_lookup(ifname=port)[0])


def _configure(address: str) -> None:
    _no_ipv6()
    # Gateways listen on 80 and 443 and are nobody special; container runtimes set the same.
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    with _routes() as netlink:
        _up(netlink, "lo")
        index = _up(netlink, _POD_SIDE)
        network = _network(address)
        netlink.addr("add", index=index, address=address, prefixlen=network.prefixlen)
        netlink.route("add", dst="default", gateway=str(network[1]))


def _up(netlink: Any, name: str) -> int:
    index: int = netlink.link_lookup(ifname=name)[0]
    netlink.link("set", index=index, state="up")
    return index


def _no_ipv6() -> None:
    # The lab's rules redirect IPv4; a way around them would make every measurement doubtful.
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    if switch.exists():
        switch.write_text("1")


def _network(address: str) -> ipaddress.IPv4Network:
    found = ipaddress.IPv4Address(address)
    for network in _NETWORKS:
        if found in network:
            return network
    raise EnvironmentUnfit(f"{address} is in no network of the lab: {', '.join(map(str, _NETWORKS))}")


def _port_name(address: str) -> str:
    high, low = address.split(".")[2:]
    return f"{_NETWORKS[_network(address)]}{high}-{low}"


@contextmanager
def _routes() -> Iterator[Any]:
    """Netlink in the current namespace; what the kernel refuses becomes EnvironmentUnfit."""
    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError as error:
        raise EnvironmentUnfit("the lab needs pyroute2: pip install 'mini-istiod[envoy]'") from error
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise EnvironmentUnfit(f"the kernel refuses to build the lab's network: {error}") from error
