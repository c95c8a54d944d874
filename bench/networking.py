"""What one change costs among many objects of one kind, and whether that grows with how many there are.

Each shape is a mesh that is large in one way only: virtual hosts on one route, servers of Gateways,
ServiceEntries, EnvoyFilters.  Control planes of three sizes run side by side and take turns at one change of
one object, so that a busy moment of the machine hits all of them.  How many queries ran, how many messages
were serialised and how many bytes were sent is exact; times are not.

Where what is sent grows with the mesh though one object changed, the unit of xDS is the reason: a route
configuration is sent whole, and so is a listener.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import plant
from bench.figures import median, summary, table
from controlplane.envoy.bootstrap import Node
from controlplane.lab.child import Child, child
from controlplane.lab.churn.objects import Raw
from controlplane.lab.fleet import Fleet

_NAMESPACE = "shop"
_BORN = "2026-01-01T00:00:00Z"
_PROXIES = 3
_GATEWAY = {"istio": "ingressgateway"}
_NETWORKING = "networking.istio.io/v1"
_PATCHED = 100
"""Services in the mesh of EnvoyFilters: one for each filter, so that none hides another's change."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`objects` of a size, one more of the same with another content (`change`), and who looks at it."""

    name: str
    sizes: tuple[int, ...]
    objects: Callable[[int], Iterator[Raw]]
    change: Callable[[int], Raw]
    kind: str = "sidecar"


@dataclass(frozen=True, slots=True)
class Site:
    """One mesh of the shape of this name; a plain value, because it goes to another process."""

    name: str
    size: int

    @property
    def shape(self) -> Shape:
        """What it is large in."""
        return next(shape for shape in SHAPES if shape.name == self.name)

    def objects(self) -> Iterator[Raw]:
        """Everything that there is in the beginning."""
        return self.shape.objects(self.size)

    def node(self, i: int) -> Node:
        """Proxy number i; all are in one namespace."""
        router = self.shape.kind == "router"
        return Node(
            ip=f"10.9.0.{i + 1}",
            name=f"p-{i}",
            namespace=_NAMESPACE,
            labels=_GATEWAY if router else {"app": "client"},
            kind="router" if router else "sidecar",
        )


def _hosts(count: int) -> Iterator[Raw]:
    """Services on port 80, each with a VirtualService: so many virtual hosts in the route "80"."""
    for n in range(count):
        yield from (_service(n), _versions(n), _share(n, 50))


def _versions(n: int) -> Raw:
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    return _object(_NETWORKING, "DestinationRule", f"s{n}", {"host": _host(n), "subsets": subsets})


def _share(n: int, percent: int) -> Raw:
    shares = (("v1", percent), ("v2", 100 - percent))
    route = [{"destination": {"host": _host(n), "subset": name}, "weight": share} for name, share in shares]
    return _object(_NETWORKING, "VirtualService", f"s{n}", {"hosts": [_host(n)], "http": [{"route": route}]})


def _gateways(count: int) -> Iterator[Raw]:
    """Gateways with one server each on one port, with a host and a VirtualService of its own."""
    yield from (_workload(), _service(0))
    for n in range(count):
        yield _gateway(n)
        yield _bound(n, 1)


def _gateway(n: int) -> Raw:
    port = {"number": 8080, "name": "http", "protocol": "HTTP"}
    servers = [{"port": port, "hosts": [f"h{n}.example.com"]}]
    return _object(_NETWORKING, "Gateway", f"g{n}", {"selector": _GATEWAY, "servers": servers})


def _bound(n: int, seconds: int) -> Raw:
    rule = {"timeout": f"{seconds}s", "route": [{"destination": {"host": _host(0)}}]}
    spec = {"hosts": [f"h{n}.example.com"], "gateways": [f"g{n}"], "http": [rule]}
    return _object(_NETWORKING, "VirtualService", f"h{n}", spec)


def _opaque_gateways(count: int) -> Iterator[Raw]:
    """Gateways that pass TLS on by the name that is asked for: so many filter chains in one listener."""
    yield from (_workload(), _service(0), _service(1))
    for n in range(count):
        port = {"number": 8443, "name": "tls", "protocol": "TLS"}
        server = {"port": port, "hosts": [f"h{n}.example.com"], "tls": {"mode": "PASSTHROUGH"}}
        yield _object(_NETWORKING, "Gateway", f"g{n}", {"selector": _GATEWAY, "servers": [server]})
        yield _passed_on(n, 50)


def _passed_on(n: int, percent: int) -> Raw:
    host = f"h{n}.example.com"
    shares = ((0, percent), (1, 100 - percent))
    route = [
        {"destination": {"host": _host(to), "port": {"number": 80}}, "weight": share} for to, share in shares
    ]
    rule = {"match": [{"sniHosts": [host]}], "route": route}
    spec = {"hosts": [host], "gateways": [f"g{n}"], "tls": [rule]}
    return _object(_NETWORKING, "VirtualService", f"h{n}", spec)


def _workload() -> Raw:
    """What the Gateways select."""
    return _object(_NETWORKING, "WorkloadEntry", "gateway", {"address": "10.9.0.1", "labels": _GATEWAY})


def _entries(count: int) -> Iterator[Raw]:
    """Hosts outside of the mesh, each an entry with an address of its own."""
    return (_entry(n, 1) for n in range(count))


def _entry(n: int, last: int) -> Raw:
    spec = {
        "hosts": [f"e{n}.example.com"],
        "addresses": [f"10.64.{n // 250}.{n % 250 + 1}"],
        "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
        "resolution": "STATIC",
        "endpoints": [{"address": f"192.0.2.{last}"}],
    }
    return _object(_NETWORKING, "ServiceEntry", f"e{n}", spec)


def _filters(count: int) -> Iterator[Raw]:
    """EnvoyFilters for all workloads, each with a patch of one service's cluster."""
    for n in range(_PATCHED):
        yield _service(n)
    for n in range(count):
        yield _filter(n, 1)


def _filter(n: int, seconds: int) -> Raw:
    patch = {
        "applyTo": "CLUSTER",
        "match": {"context": "SIDECAR_OUTBOUND", "cluster": {"service": _host(n)}},
        "patch": {"operation": "MERGE", "value": {"connect_timeout": f"{seconds}s"}},
    }
    api = "networking.istio.io/v1alpha3"
    return _object(api, "EnvoyFilter", f"f{n}", {"configPatches": [patch]})


def _service(n: int) -> Raw:
    # ClusterIPs of a range of their own; nobody calls them here.
    ports = [{"port": 80, "name": "http"}]
    spec = {
        "clusterIP": f"10.96.{n // 250}.{n % 250 + 1}",
        "ports": ports,
        "selector": {"app": f"s{n}"},
    }
    return _object("v1", "Service", f"s{n}", spec)


def _host(n: int) -> str:
    return f"s{n}.{_NAMESPACE}.svc.cluster.local"


def _object(api: str, kind: str, name: str, spec: Raw) -> Raw:
    metadata = {"name": name, "namespace": _NAMESPACE, "creationTimestamp": _BORN}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


SHAPES = (
    Shape("virtual hosts on one route", (100, 300, 1000), _hosts, lambda n: _share(7, 10 + n)),
    Shape("servers of gateways, HTTP", (100, 300, 1000), _gateways, lambda n: _bound(7, 10 + n), "router"),
    Shape(
        "servers of gateways, TLS",
        (100, 300, 1000),
        _opaque_gateways,
        lambda n: _passed_on(7, 10 + n),
        "router",
    ),
    Shape("ServiceEntries", (500, 1500, 5000), _entries, lambda n: _entry(7, 10 + n)),
    Shape("EnvoyFilters", (10, 30, 100), _filters, lambda n: _filter(7, 10 + n)),
)


def run(repeats: int = 10, divisor: int = 1) -> list[dict[str, Any]]:
    """Each shape at its sizes (through `divisor`); times in milliseconds."""
    return [_shape(shape, repeats, divisor) for shape in SHAPES]


def _shape(shape: Shape, repeats: int, divisor: int) -> dict[str, Any]:
    sizes = [max(size // divisor, 10) for size in shape.sizes]
    with contextlib.ExitStack() as stack:
        sites = [stack.enter_context(_served(Site(shape.name, size))) for size in sizes]
        made: list[list[dict[str, Any]]] = [[] for _ in sites]
        # The first two make what later ones only make again, and do not count.
        for n in range(repeats + 2):
            for row, plane in zip(made, sites, strict=True):
                row.append(plane.ask("change", raw=shape.change(n)))
        return {
            "shape": shape.name,
            "rows": [{"size": size, **_sum(row[2:])} for size, row in zip(sizes, made, strict=True)],
        }


@contextlib.contextmanager
def _served(site: Site) -> Iterator[Child]:
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 'plane'}"
        with (
            child("plane", plant.main, address, site) as plane,
            Fleet(address, map(site.node, range(_PROXIES))) as fleet,
        ):
            plane.ask("fill", timeout=300)
            fleet.connect(timeout=300)
            plane.ask("seen")
            yield plane


def _sum(made: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{name: median(one[name] for one in made) for name in ("runs", "serialised")},
        "bytes": median(one["size"] for one in made),
        "sent": made[-1]["sent"],
        "settled": summary((one["settled"] for one in made), 1000),
        "cpu": summary((one["cpu"] for one in made), 1000),
    }


def tables(found: list[dict[str, Any]]) -> Iterator[str]:
    """One table: a row per shape and size, and how the cost of its largest compares with the smallest's."""
    head = (
        "shape",
        "size",
        "queries run",
        "serialised",
        "bytes sent",
        "settled p50 ms",
        "CPU p50 ms",
        "slope",
    )
    rows: list[tuple[object, ...]] = []
    for shape in found:
        least = shape["rows"][0]
        for row in shape["rows"]:
            times = row["settled"]["p50"], row["cpu"]["p50"]
            slope = "" if row is least else f"{times[0] / least['settled']['p50']:.2f}x"
            counts = row["runs"], row["serialised"], row["bytes"]
            rows.append((shape["shape"], row["size"], *counts, *times, slope))
    title = f"One change among many of a kind, {_PROXIES} proxies; slope: settled against the smallest"
    yield f"### {title}\n\n{table(head, rows)}"


def targets(found: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """What one change may cost among more of its kind: no more queries, and hardly more time."""
    for shape in found:
        least, most = shape["rows"][0], shape["rows"][-1]
        what = f"{shape['shape']}, one change, {least['size']} to {most['size']}"
        yield f"{what}: queries run", "1x", f"{most['runs'] / least['runs']:.2f}x"
        slope = most["settled"]["p50"] / least["settled"]["p50"]
        yield f"{what}: cost", "at most 2x", f"{slope:.2f}x"
