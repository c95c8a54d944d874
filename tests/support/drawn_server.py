"""A drawn mesh on a real server: clients hold what a graph from scratch says, and lack nothing on the way.

The mesh is one file, so that an edit is one batch.  `Drawn` is the model: it makes the edits and holds the
objects; a fresh graph over its rows says what each client is to have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from google.protobuf import any_pb2
from google.protobuf.message import Message

from controlplane.envoy import pb
from controlplane.envoy.bootstrap import Node
from controlplane.envoy.snapshot import snapshot
from controlplane.envoy.types import BY_URL, CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST
from controlplane.graph.verify import fresh_copy
from controlplane.lab.client import Client, Protocol, Received
from controlplane.model.locality import Locality
from controlplane.model.proxy import Proxy, parse_node
from tests.support import genes
from tests.support.drawn_mesh import Drawn
from tests.support.files import MeshFiles
from tests.support.plane import Served, serving_files

PROTOCOLS: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")
State: TypeAlias = dict[str, dict[str, bytes]]
_USERS = (LISTENER, ROUTE)

_PATCHED = {"ISTIO_VERSION": "1.29.1", "CLUSTER_ID": "west"}
NODES = (
    # Of a version and a cluster that EnvoyFilters of the golden cases ask for.
    Node("10.1.0.2", "app-1", "shop", labels={"app": "app"}, metadata=_PATCHED),
    Node("10.1.0.2", "client-1", "default", labels={"app": "client"}, locality="eu/eu-a/rack1"),
    Node("10.244.0.1", "cart-1", "default", labels={"app": "cart"}, metadata={"INTERCEPTION_MODE": "NONE"}),
    Node("10.244.0.1", "client-2", "default", metadata={"DNS_CAPTURE": "true", "NETWORK": "n1"}),
    Node("10.1.0.9", "gw-1", "edge", kind="router", labels={"istio": "ingressgateway"}),
    Node("10.1.0.9", "gw-1", "istio-system", kind="router", labels={"istio": "ingressgateway"}),
)


class Watched:
    """A client, and what it held after each response since it was last at rest."""

    def __init__(self, node: Node, protocol: Protocol) -> None:
        self.client = Client(node, protocol)
        self.client.on_response = self._note
        self.moments: list[State] = []
        self.rest: State = {}
        self.asks = False
        """Whether the mesh gives it virtual hosts on demand, as it is now."""

    @property
    def proxy(self) -> Proxy:
        node = self.client.node.as_json()
        return parse_node(node["id"], node["metadata"], Locality(**node.get("locality", {})))

    def _note(self, _received: Received) -> None:
        self.moments.append(self.client.views())

    def come_to_rest(self) -> list[str]:
        """What was missing at some moment between the last rest and this one, a line each."""
        before, self.rest = self.rest, self.client.views()
        moments, self.moments = self.moments, []
        found: list[str] = []
        for moment in moments if before else ():
            found += missing(moment, before, self.rest)
        return sorted(set(found))


def missing(now: State, before: State, after: State) -> Iterator[str]:
    """Clusters that a listener or route leads to, that the mesh has, and that the client has not."""
    for url in _USERS:
        for name, body in now[url].items():
            for cluster in _clusters(url, body) - now[CLUSTER].keys():
                # A user's mistake: in that state of the mesh there was none.
                states = [state for state in (before, after) if state[url].get(name) == body]
                excused = [cluster not in state[CLUSTER] for state in states]
                if excused and not any(excused):
                    yield f"{BY_URL[url].short} {name} leads to {cluster}, which is not there"
    for cluster in now[CLUSTER].keys() & before[CLUSTER].keys():
        lost = cluster in before[ENDPOINT] and cluster not in now[ENDPOINT]
        if lost and before[CLUSTER][cluster] == now[CLUSTER][cluster]:
            yield f"cds {cluster} lost its endpoints"


@lru_cache(maxsize=20_000)
def _clusters(url: str, body: bytes) -> frozenset[str]:
    return frozenset(_led_to(pb.parse(url, body)))


def _led_to(message: Message) -> Iterator[str]:
    """The clusters that a message names, at any depth."""
    if isinstance(message, any_pb2.Any):
        yield from _led_to(pb.parse(message.type_url, message.value))
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            if field.name == "cluster" or (
                field.name == "name" and message.DESCRIPTOR.name == "ClusterWeight"
            ):
                yield str(value)
        elif not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else [value]:
                yield from _led_to(part)


async def converge(directory: Path, seed: int, edits: int, *, on_demand: bool = False) -> Counter[str]:
    """Edit a drawn mesh and compare its clients after each edit; how many responses there were, by type.

    With `on_demand` the incremental sidecars ask for single virtual hosts.
    """
    mesh = Drawn(seed, objects_only=True)
    files = MeshFiles(directory / "config")
    _save(files, mesh)
    flags = ("--on-demand-virtual-hosts",) if on_demand else ()
    async with serving_files(files, directory / "xds.sock", *flags) as served:
        watched: dict[str, Watched] = {}
        for node in NODES:
            for protocol in PROTOCOLS:
                one = Watched(node, protocol)
                one.client.on_demand = on_demand and protocol == "DELTA_GRPC" and node.kind == "sidecar"
                watched[f"{node.id} {protocol}"] = one
                await served.connect(one.client, f"{node.id} {protocol}")
        for number in range(edits + 1):
            with _told(seed, mesh):
                await served.quiet()
                _compare(mesh, watched)
            if number < edits:
                await _away(served, watched, mesh)
                await _ask(watched, mesh)
                mesh.edit()
                mesh.settle()
                _save(files, mesh)
        return Counter(BY_URL[got.type_url].short for one in watched.values() for got in one.client.log)


async def _away(served: Served, watched: Mapping[str, Watched], mesh: Drawn) -> None:
    """Now and then somebody reconnects, with what he has."""
    if mesh.pick.random() < 0.2:
        name = mesh.pick.choice(sorted(watched))
        one = watched[name]
        await served.connect(await served.disconnect(name), name)
        # A client of the whole state cannot say what it has: what went meanwhile goes at once.
        one.rest = {}


async def _ask(watched: Mapping[str, Watched], mesh: Drawn) -> None:
    """Who was told so asks for virtual hosts of his ports; not all of them exist."""
    hosts = sorted({host.lower() for raw in mesh.held.values() for host in genes.hosts_of(raw)})
    for one in watched.values():
        ports = sorted(name for name in one.client.state[ROUTE] if name.isdigit())
        if one.client.on_demand and one.asks and ports and hosts:
            await one.client.ask(f"{mesh.pick.choice(ports)}/{mesh.pick.choice(hosts)}")


def _save(files: MeshFiles, mesh: Drawn) -> None:
    objects = [mesh.held[one] for one in sorted(mesh.held)]
    if files.holds.get("mesh.yaml") != tuple(objects):
        files.write("mesh.yaml", *objects)


def _compare(mesh: Drawn, watched: Mapping[str, Watched]) -> None:
    graph = fresh_copy(mesh.graph)
    for name, one in watched.items():
        asks = sorted(one.client.wanted(VIRTUAL_HOST)) if one.client.on_demand else None
        served = snapshot(graph, one.proxy, asks)
        has = one.client.views()
        one.asks = VIRTUAL_HOST in served
        for url, found in served.items():
            bodies = {resource.name: resource.body for resource in found.values()}
            if not BY_URL[url].wildcard:
                # Of endpoints and routes it has what its clusters and listeners name.
                bodies = {key: bodies.get(key, b"") for key in one.client.wanted(url)}
            wrong = [key for key in bodies.keys() | has[url].keys() if bodies.get(key) != has[url].get(key)]
            assert not wrong, f"{name}: {BY_URL[url].short} {sorted(wrong)[:5]} differ from a fresh graph's"
        lacked = one.come_to_rest()
        assert not lacked, f"{name}: {lacked[:5]}"


@contextmanager
def _told(seed: int, mesh: Drawn) -> Iterator[None]:
    """Adds to a failure what is needed to see it again."""
    try:
        yield
    except AssertionError as error:
        last = "\n  ".join(mesh.history[-3:])
        raise AssertionError(
            f"seed {seed}, {len(mesh.history)} edits: {error}\nthe last:\n  {last}"
        ) from error
