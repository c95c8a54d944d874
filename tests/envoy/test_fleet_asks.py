"""A synthetic proxy asks what a real Envoy asks: both speak to a server that plays a script and takes notes.

Step by step the requests are compared, in their order: which types and names, what is answered, what is
said after a reconnect.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import BY_URL, CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.fleet import Fleet, FleetOptions
from controlplane.lab.fleet.requests import DELTA_PATH, SOTW_PATH
from controlplane.lab.pods import PodSpec, Sidecar
from tests.support.envoys import MARKS, laboratory
from tests.support.waiting import until

pytestmark = MARKS

SPEC = PodSpec("web-1", "front", "10.244.200.2")
REST = 0.3
Step = list[str]


def cluster(name: str, seconds: int = 1) -> bytes:
    made = pb.cluster.Cluster(name=name, type=pb.cluster.Cluster.EDS)
    made.eds_cluster_config.eds_config.ads.SetInParent()
    made.eds_cluster_config.eds_config.resource_api_version = pb.config_source.ApiVersion.V3
    made.connect_timeout.seconds = seconds
    return made.SerializeToString()


def endpoints(name: str) -> bytes:
    made = pb.endpoint.ClusterLoadAssignment(cluster_name=name)
    address = made.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "10.0.0.9", 80
    return made.SerializeToString()


def listener(name: str, port: int, route: str) -> bytes:
    manager = pb.hcm.HttpConnectionManager(stat_prefix=name)
    manager.rds.route_config_name = route
    manager.rds.config_source.ads.SetInParent()
    manager.rds.config_source.resource_api_version = pb.config_source.ApiVersion.V3
    manager.http_filters.add(name="router").typed_config.CopyFrom(pb.pack(pb.router.Router()))
    made = pb.listener.Listener(name=name)
    made.address.socket_address.address, made.address.socket_address.port_value = "10.0.0.8", port
    made.bind_to_port.value = False
    made.filter_chains.add().filters.add(name="http").typed_config.CopyFrom(pb.pack(manager))
    return made.SerializeToString()


def routes(name: str) -> bytes:
    made = pb.route.RouteConfiguration(name=name)
    made.virtual_hosts.add(name=name, domains=["*"])
    return made.SerializeToString()


class Script:
    """A server with one client; `said` is what the client said since the last step."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, bytes]] = {
            CLUSTER: {"a": cluster("a"), "b": cluster("b")},
            ENDPOINT: {name: endpoints(name) for name in "abcd"},
            LISTENER: {"l": listener("l", 80, "r1")},
            ROUTE: {name: routes(name) for name in ("r1", "r2", "r3")},
        }
        self.said: Step = []
        self._names: dict[str, set[str]] = {}
        self._nonces = itertools.count(1)
        self._sent: dict[str, str] = {}
        self._answered: dict[str, str] = {}
        self._context: Any = None
        self.incremental = True

    async def delta(self, _: Any, context: Any) -> None:
        await self._serve(context, pb.discovery.DeltaDiscoveryRequest)

    async def sotw(self, _: Any, context: Any) -> None:
        self.incremental = False
        await self._serve(context, pb.discovery.DiscoveryRequest)

    async def push(self, url: str, names: set[str] | None = None, removed: tuple[str, ...] = ()) -> None:
        """Send resources of a type: these, or all."""
        found = {name: body for name, body in self.has[url].items() if names is None or name in names}
        nonce = f"{BY_URL[url].short}-{next(self._nonces)}"
        self._sent[url] = nonce
        if self.incremental:
            message = pb.discovery.DeltaDiscoveryResponse(type_url=url, nonce=nonce)
            for name, body in found.items():
                message.resources.add(name=name, version=f"{hash(body)}").resource.MergeFrom(_any(url, body))
            message.removed_resources.extend(removed)
        else:
            message = pb.discovery.DiscoveryResponse(type_url=url, nonce=nonce, version_info=nonce)
            message.resources.extend(_any(url, body) for body in found.values())
        await self._context.write(message.SerializeToString())

    @property
    def quiet(self) -> bool:
        """Whether the client has answered the newest response of each type."""
        return self._answered == self._sent

    def asks(self, url: str, *names: str) -> bool:
        """Whether the client wants these names of a type, and no others."""
        return self._names.get(url) == set(names)

    def end(self) -> None:
        """End the stream."""
        self._ending.set()

    async def _serve(self, context: Any, kind: Any) -> None:
        self._context = context
        self._names.clear()
        self._sent.clear()
        self._answered.clear()
        self._ending = asyncio.Event()
        reading = asyncio.create_task(self._read(context, kind))
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, ending):
            task.cancel()

    async def _read(self, context: Any, kind: Any) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:
            request = kind.FromString(data)
            await (self._take_delta if self.incremental else self._take_sotw)(request)

    async def _take_delta(self, request: Any) -> None:
        url = request.type_url
        names = self._names.get(url)
        more, fewer = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        known = sorted(request.initial_resource_versions)
        self._note(request, f"+{sorted(more)} -{sorted(fewer)} has {known}")
        self._names[url] = ((names or set()) | more) - fewer
        if names is None:
            await self.push(url, more if more else None)
        elif more:
            await self.push(url, more)

    async def _take_sotw(self, request: Any) -> None:
        url = request.type_url
        names = set(request.resource_names)
        self._note(request, f"{sorted(names)} version {request.version_info.partition('-')[0]}")
        if names != self._names.get(url):
            self._names[url] = names
            await self.push(url, names or None)

    def _note(self, request: Any, what: str) -> None:
        short = BY_URL[request.type_url].short
        last = self._sent.get(request.type_url)
        answers = ""
        if request.response_nonce and request.response_nonce == last:
            answers = "answers"
            self._answered[request.type_url] = last
        node = " node" if request.HasField("node") else ""
        self.said.append(f"{short}: {what} {answers}{node}")


def _over(script: Script, clusters: set[str], routes: set[str]) -> bool:
    """Whether a client that should follow these clusters and routes does, and owes no answer."""
    return script.asks(ENDPOINT, *clusters) and script.asks(ROUTE, *routes) and script.quiet


def _any(url: str, body: bytes) -> Any:
    return pb.any_pb2.Any(type_url=url, value=body)


async def play(script: Script, come: Callable[[], Any]) -> list[Step]:
    """The script; what the client said in each step."""
    steps = []

    async def step(clusters: str, *routes: str) -> None:
        # Until it asks for what it must and has answered everything, however slow the machine is; and
        # then what it says beyond that.
        done = partial(_over, script, set(clusters), set(routes))
        said = None
        while said != len(script.said):
            await until(done, lambda: f"a step ends: {script.said}", 60)
            said = len(script.said)
            await asyncio.sleep(REST)
        steps.append(script.said)
        script.said = []

    await come()
    await step("ab", "r1")
    script.has[CLUSTER]["c"] = cluster("c")
    await script.push(CLUSTER, {"c"} if script.incremental else None)
    await step("abc", "r1")
    # A cluster changes; its endpoints follow.
    script.has[CLUSTER]["a"] = cluster("a", 2)
    await script.push(CLUSTER, {"a"} if script.incremental else None)
    if not script.incremental:
        await until(lambda: script.said, "a request for endpoints", 60)
    await script.push(ENDPOINT, {"a"} if script.incremental else {"a", "b", "c"})
    await step("abc", "r1")
    del script.has[CLUSTER]["b"]
    await script.push(CLUSTER, set() if script.incremental else None, ("b",))
    await step("ac", "r1")
    script.has[LISTENER]["m"] = listener("m", 81, "r2")
    await script.push(LISTENER, {"m"} if script.incremental else None)
    await step("ac", "r1", "r2")
    script.end()
    await until(lambda: len(script.said) >= 4, "a new stream", 60)
    await step("ac", "r1", "r2")
    return steps


@asynccontextmanager
async def serving(script: Script, socket: Path) -> AsyncIterator[str]:
    server = grpc.aio.server()
    service, delta = DELTA_PATH[1:].split("/")
    handlers: Mapping[str, Any] = {
        delta: grpc.stream_stream_rpc_method_handler(script.delta),
        SOTW_PATH.rpartition("/")[2]: grpc.stream_stream_rpc_method_handler(script.sotw),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    # For Envoy's user.
    await asyncio.to_thread(socket.chmod, 0o777)
    try:
        yield f"unix:{socket}"
    finally:
        await server.stop(0)


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_the_same_is_asked(tmp_path: Path, protocol: Any) -> None:
    async def scene() -> None:
        with laboratory(tmp_path) as lab:
            theirs = Script()
            async with serving(theirs, lab.directory / "envoy.sock") as address:

                async def start() -> None:
                    lab.start(SPEC, Sidecar(address, protocol))

                envoy = await play(theirs, start)
            ours = Script()
            async with serving(ours, lab.directory / "fleet.sock") as address:
                with Fleet(
                    address, [SPEC.node], FleetOptions(protocol=protocol, backoff=(0.1, 0.1))
                ) as fleet:
                    proxy = await play(ours, lambda: asyncio.to_thread(fleet.connect))
        for number, (one, other) in enumerate(zip(envoy, proxy, strict=True)):
            assert one == other, f"step {number}"

    asyncio.run(scene())
