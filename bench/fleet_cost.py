"""What a synthetic proxy costs: CPU time of the fleet for one response, by size and sort of response.

    python -m bench.fleet_cost [proxies ...]

The server is a socket that is written prepared bytes to, so nothing but the fleet's side is timed: reading,
recognising or parsing, remembering, answering.  Each response has a nonce of its own, as istiod's have.
"equal": all proxies are sent the same resources.  "own": one of the resources is the proxy's own, as
inbound clusters are.  "shuffled": the same ones in another order for every proxy, as Go maps are.
"""

from __future__ import annotations

import gc
import random
import resource
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bench.figures import median, table
from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet import FleetOptions, sockets
from controlplane.lab.fleet.proxies import Proxies

_FRAME = 16_384
_SERVICE = "outbound|80||service-{}.namespace-{}.svc.cluster.local"
_NAMES = [_SERVICE.format(n, n % 10) for n in range(1000)]
_ROUNDS = 3

Resources = Mapping[str, bytes]


def assignment(salt: int) -> Resources:
    """Ten endpoints of one service: half a kilobyte with what is around it."""
    made = pb.endpoint.ClusterLoadAssignment(cluster_name=_NAMES[0])
    for n in range(10):
        at = made.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
        at.address, at.port_value = f"20.{salt // 65536}.{salt // 256 % 256}.{salt % 256}", 8000 + n
    return {_NAMES[0]: made.SerializeToString()}


def routes(salt: int) -> Resources:
    """A thousand virtual hosts: 300 kB."""
    made = pb.route.RouteConfiguration(name="80")
    for n, name in enumerate(_NAMES):
        host = name.rpartition("|")[2]
        domains = (host, host.removesuffix(".cluster.local"), host.removesuffix(".svc.cluster.local"))
        one = made.virtual_hosts.add(name=f"{host}:80", domains=[*domains, f"10.0.{n // 256}.{n % 256}"])
        route = one.routes.add(name="default")
        route.match.prefix, route.route.cluster = "/", name
        route.route.timeout.seconds = salt if n == 500 else 1
    return {"80": made.SerializeToString()}


def clusters(salt: int) -> Resources:
    """A thousand clusters of 2.3 kB each."""
    found = {}
    for n, name in enumerate(_NAMES):
        made = pb.cluster.Cluster(name=name, type=pb.cluster.Cluster.EDS, alt_stat_name="x" * 2150)
        made.connect_timeout.seconds = salt if n == 500 else 1
        found[name] = made.SerializeToString()
    return found


CASES = (
    ("eds", ENDPOINT, assignment, ("equal", "own")),
    ("rds", ROUTE, routes, ("equal", "own")),
    ("cds", CLUSTER, clusters, ("equal", "own", "shuffled")),
)


def response(delta: bool, url: str, nonce: str, resources: Resources, order: Iterable[str]) -> bytes:
    """A response of either variant, as gRPC sends it: a message in frames."""
    message: Any = pb.discovery.DeltaDiscoveryResponse() if delta else pb.discovery.DiscoveryResponse()
    for name in order:
        one = message.resources.add()
        if delta:
            one.name, one = name, one.resource
        one.type_url, one.value = url, resources[name]
    message.type_url, message.nonce = url, nonce
    message.control_plane.identifier = '{"Component":"istiod","ID":"istiod-5b6f","Info":{"version":"1"}}'
    version = wire.string(1, f"2026-01-01T00:00:00Z/{nonce[:1]}")
    data = version + message.SerializeToString()
    data = struct.pack(">BI", 0, len(data)) + data
    pieces = (data[at : at + _FRAME] for at in range(0, len(data), _FRAME))
    return b"".join(struct.pack(">IBI", len(piece) << 8, 0, 1) + piece for piece in pieces)


@contextmanager
def site(count: int, delta: bool) -> Iterator[tuple[Proxies, list[socket.socket]]]:
    """Connected proxies that have asked for everything, and the servers' ends of their sockets."""
    pairs = [socket.socketpair() for _ in range(count)]
    for near, far in pairs:
        near.setblocking(False)
        far.setblocking(False)
    waiting = iter([near for near, _ in pairs])
    options = FleetOptions(protocol="DELTA_GRPC" if delta else "GRPC")
    proxies = Proxies("unix:/nowhere", [Mesh().node(i) for i in range(count)], options)
    connect, vars(sockets)["connect"] = sockets.connect, lambda _: next(waiting)
    proxies.connect(proxies.members)
    vars(sockets)["connect"] = connect
    fars = [far for _, far in pairs]
    listener = pb.listener.Listener(name="l")
    manager = pb.hcm.HttpConnectionManager()
    manager.rds.route_config_name = "80"
    listener.filter_chains.add().filters.add().typed_config.CopyFrom(pb.pack(manager))
    eds = pb.cluster.Cluster(name=_NAMES[0], type=pb.cluster.Cluster.EDS)
    for url, body in ((CLUSTER, eds), (LISTENER, listener)):
        data = response(delta, url, "0", {body.name: body.SerializeToString()}, [body.name])
        for far in fars:
            deliver(proxies, far, data)
    proxies.receipts.clear()
    yield proxies, fars
    proxies.drop(proxies.members)
    for far in fars:
        far.close()


def deliver(proxies: Proxies, far: socket.socket, data: bytes) -> float:
    """Write to one proxy and let it answer; CPU seconds of the fleet's loop."""
    spent = 0.0
    left = memoryview(data)
    while True:
        if left:
            with suppress(BlockingIOError):
                left = left[far.send(left) :]
        began = time.thread_time()
        proxies.loop.turn(0)
        spent += time.thread_time() - began
        if not left:
            break
    drain(far)
    return spent


def drain(far: socket.socket) -> None:
    try:
        while far.recv(1 << 20):
            pass
    except BlockingIOError:
        return


def measure(count: int, delta: bool) -> Iterator[tuple[str, ...]]:
    """Rows of the table: type, sort, kB, microseconds of CPU for one response (median)."""
    rng = random.Random(1)
    for short, url, make, sorts in CASES:
        for sort in sorts:
            # Making a body of one's own for each of many proxies takes longer than all else.
            some = count if sort == "equal" or short == "eds" else min(count, 50)
            spent: list[float] = []
            size = 0
            with site(some, delta) as (proxies, fars):
                for turn in range(_ROUNDS):
                    data = b""
                    for number, far in enumerate(fars):
                        if number == 0 or sort == "own":
                            made = make(2 + turn * some + (number if sort == "own" else 0))
                        order = rng.sample(list(made), len(made)) if sort == "shuffled" else list(made)
                        if sort == "equal" and number:
                            data = data.replace(b"nonce-%06d" % (number - 1), b"nonce-%06d" % number)
                        else:
                            data = response(delta, url, f"{turn}-nonce-{number:06}", made, order)
                        size = len(data)
                        spent.append(deliver(proxies, far, data))
                assert len(proxies.receipts) == _ROUNDS * some
            yield short, sort, f"{size / 1000:.1f}", f"{median(spent[some:]) * 1e6:.0f}"


def main() -> int:
    # As the fleet's processes are set up.
    gc.disable()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    counts = [int(one) for one in sys.argv[1:]] or [500, 2000]
    rows: dict[tuple[str, ...], list[str]] = {}
    heads = ["type", "resources", "kB"]
    for delta in (True, False):
        for count in counts:
            heads.append(f"{'delta' if delta else 'SotW'}, {count} proxies")
            for short, sort, size, cost in measure(count, delta):
                rows.setdefault((short, sort), [size]).append(cost)
    print(table(heads, [(*key, *row) for key, row in rows.items()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
