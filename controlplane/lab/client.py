"""Synthetic xDS clients: light enough that a thousand run in one process, and true to Envoy.

A client subscribes as Envoy does: all clusters and listeners, then the endpoints that the clusters name,
and the routes and extension configurations that the listeners name; it answers every response.  It keeps
the bytes of what it was given, so that two clients, or a client and the control plane, can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import BY_URL, CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST

Protocol = Literal["GRPC", "DELTA_GRPC"]

_SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_METHODS = {"GRPC": "StreamAggregatedResources", "DELTA_GRPC": "DeltaAggregatedResources"}
_FOLLOWS = {CLUSTER: (ENDPOINT,), LISTENER: (ROUTE, EXTENSION)}
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
_STALL = 0.05  # seconds


@dataclass(slots=True)
class Received:
    """One response as its client saw it; `at` is monotonic seconds of the event loop."""

    type_url: str
    at: float
    size: int
    names: tuple[str, ...]
    removed: tuple[str, ...]
    nonce: str


@dataclass(slots=True)
class Client:
    """One synthetic proxy; `state` is name -> (version, bytes) by type URL.

    `on_response` may be replaced to measure; `verdict`, given type URL and resources by name, gives the
    text of a NACK, None accepts.  While it is `stalled` the client reads nothing.  With `on_demand` it is
    one whose virtual hosts come when it asks for them; those that it is told do not exist have no bytes.
    """

    node: Node
    protocol: Protocol = "DELTA_GRPC"
    state: dict[str, dict[str, tuple[str, bytes]]] = field(
        default_factory=lambda: {
            url: {} for url in (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, EXTENSION)
        }
    )
    log: list[Received] = field(default_factory=list)
    on_response: Callable[[Received], None] | None = None
    verdict: Callable[[str, Mapping[str, bytes]], str | None] | None = None
    ack_delay: float = 0.0
    stalled: bool = False
    keep_bytes: bool = True
    on_demand: bool = False
    _wanted: dict[str, frozenset[str]] = field(default_factory=dict)
    _refs: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    _introduced: bool = False
    _versions: dict[str, str] = field(default_factory=dict)
    _nonces: dict[str, str] = field(default_factory=dict)
    _send: Callable[[bytes], Awaitable[None]] | None = None

    async def run(self, channel: grpc.aio.Channel) -> None:
        """One stream, from the first request until it ends; raises grpc.aio.AioRpcError when it breaks."""
        call = channel.stream_stream(_SERVICE + _METHODS[self.protocol])()
        self._introduced = False
        self._nonces.clear()

        one_at_a_time = asyncio.Lock()

        async def send(data: bytes) -> None:
            # After its end gRPC takes nothing more, and says so in one of two ways; how the stream
            # ended is what reading tells.
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                async with one_at_a_time:
                    await call.write(data)

        self._send = send
        try:
            for url in (CLUSTER, LISTENER):
                await send(self._request(url, first=True))
            for url in (ENDPOINT, ROUTE, EXTENSION):
                if self._wanted.get(url):
                    await send(self._request(url, subscribe=self._wanted[url], first=True))
            if self.on_demand:
                asked = self._wanted.get(VIRTUAL_HOST)
                # Envoy asks for everything, and comes back with a name for that beside the others.
                again = asked | {"*"} if asked else None
                await send(self._request(VIRTUAL_HOST, subscribe=again, first=True))
            while True:
                while self.stalled:  # noqa: ASYNC110 - a flag is what a test can set at any time
                    await asyncio.sleep(_STALL)
                data = await call.read()
                if data is grpc.aio.EOF:
                    return
                for request in self._take(data):
                    if self.ack_delay:
                        await asyncio.sleep(self.ack_delay)
                    await send(request)
        finally:
            self._send = None
            call.cancel()

    async def ask(self, *names: str) -> None:
        """Ask for virtual hosts: "<route configuration>/<Host header>"."""
        self._wanted[VIRTUAL_HOST] = self._wanted.get(VIRTUAL_HOST, frozenset()).union(names)
        if self._send is not None:
            await self._send(self._request(VIRTUAL_HOST, subscribe=frozenset(names), follow=True))

    def views(self) -> dict[str, dict[str, bytes]]:
        """What the client has, without versions, by type and name."""
        return {url: {name: body for name, (_, body) in found.items()} for url, found in self.state.items()}

    def wanted(self, url: str) -> frozenset[str]:
        """The names of a type that it has asked for."""
        return self._wanted.get(url, frozenset())

    @property
    def lacks(self) -> frozenset[str]:
        """Names that its clusters and listeners refer to and that it was not given yet."""
        return frozenset(
            name for url, names in self._wanted.items() for name in names if name not in self.state[url]
        )

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, data: bytes) -> list[bytes]:
        delta = self.protocol == "DELTA_GRPC"
        kind = pb.discovery.DeltaDiscoveryResponse if delta else pb.discovery.DiscoveryResponse
        message = kind.FromString(data)
        url = message.type_url
        if delta:
            found = {r.name: (r.version, r.resource.value) for r in message.resources}
            removed = tuple(message.removed_resources)
        else:
            found = {_name(url, r.value): ("", r.value) for r in message.resources}
            removed = ()
        at = asyncio.get_running_loop().time()
        received = Received(url, at, len(data), tuple(found), removed, message.nonce)
        if self.keep_bytes:
            self.log.append(received)
        judge = self.verdict
        error = None if judge is None else judge(url, {name: body for name, (_, body) in found.items()})
        follow: list[bytes] = []
        if error is None:
            self._apply(url, found, removed, complete=not delta and url in _FOLLOWS)
            if not delta:
                self._versions[url] = message.version_info
            follow = [one for target in _FOLLOWS.get(url, ()) for one in self._follow(target)]
        self._nonces[url] = message.nonce
        answer = self._request(url, subscribe=None if delta else self._wanted.get(url), error=error)
        if self.on_response is not None:
            self.on_response(received)
        # Envoy asks for the endpoints of a new cluster before it acknowledges the cluster.
        return [*follow, answer]

    def _apply(
        self, url: str, found: dict[str, tuple[str, bytes]], removed: tuple[str, ...], *, complete: bool
    ) -> None:
        state = self.state[url]
        if complete:
            removed = tuple(name for name in state if name not in found)
        for name, (version, body) in found.items():
            if url not in _FOLLOWS and name not in self._wanted.get(url, frozenset()):
                continue  # Envoy has nobody for it either: it unsubscribed while this was on its way
            state[name] = (version, body if self.keep_bytes else b"")
            for target, named in _named(url, body).items() if url in _FOLLOWS else ():
                self._refs.setdefault(target, {})[name] = named
        if url == VIRTUAL_HOST:
            state.update(dict.fromkeys(removed, ("", b"")))
        for name in removed if url in _FOLLOWS else ():
            state.pop(name, None)
            for target in _FOLLOWS[url]:
                self._refs.get(target, {}).pop(name, None)

    def _follow(self, target: str) -> list[bytes]:
        """Subscribe to what is referred to now, as Envoy does once it has taken the response in."""
        wanted = frozenset(name for names in self._refs.get(target, {}).values() for name in names)
        before = self._wanted.get(target, frozenset())
        if wanted == before:
            return []
        self._wanted[target] = wanted
        for name in before - wanted:
            self.state[target].pop(name, None)
        if self.protocol == "GRPC":
            return [self._request(target, subscribe=wanted)]
        return [self._request(target, subscribe=wanted - before, drop=before - wanted, follow=True)]

    # -- giving out -----------------------------------------------------------------------------

    def _request(
        self,
        url: str,
        subscribe: frozenset[str] | None = None,
        drop: frozenset[str] = frozenset(),
        error: str | None = None,
        first: bool = False,
        follow: bool = False,
    ) -> bytes:
        delta = self.protocol == "DELTA_GRPC"
        message: Any = pb.discovery.DeltaDiscoveryRequest() if delta else pb.discovery.DiscoveryRequest()
        message.type_url = url
        # In delta a change of subscription is a message of its own and answers nothing.
        message.response_nonce = "" if first or follow else self._nonces.get(url, "")
        if not self._introduced:
            self._introduced = True
            node = self.node.as_json()
            json_format.ParseDict(node, message.node)
        if error is not None:
            message.error_detail.code = 13
            message.error_detail.message = error
        if delta:
            message.resource_names_subscribe.extend(sorted(subscribe or ()))
            message.resource_names_unsubscribe.extend(sorted(drop))
            if first:
                for name, (version, _) in self.state[url].items():
                    message.initial_resource_versions[name] = version
        else:
            message.resource_names.extend(sorted(subscribe or ()))
            message.version_info = self._versions.get(url, "")
        data: bytes = message.SerializeToString()
        return data


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client shows, and whom it believes; PEM.  `name` is what the server's certificate must have."""

    roots: bytes = field(repr=False)
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    name: str = "istiod.istio-system.svc"


def channel(address: str, *, window: int | None = None, proof: Proof | None = None) -> grpc.aio.Channel:
    """A connection of its own to "unix:/path" or "host:port"; with TLS if there is a `proof`.

    `window` bounds the bytes that are on their way to a client which reads nothing; gRPC tunes it otherwise.
    """
    bounded = () if window is None else (("grpc.http2.lookahead_bytes", window), ("grpc.http2.bdp_probe", 0))
    options = (*_OPTIONS, *bounded)
    if proof is None:
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(proof.roots, proof.key or None, proof.certificate or None)
    if proof.token:
        bearer = grpc.access_token_call_credentials(proof.token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    named = (*options, ("grpc.ssl_target_name_override", proof.name))
    return grpc.aio.secure_channel(address, credentials, options=named)


def short(url: str) -> str:
    """ "cds" for a type URL."""
    return BY_URL[url].short


def _name(url: str, body: bytes) -> str:
    message: Any = pb.parse(url, body)
    return str(message.cluster_name if url == ENDPOINT else message.name)


def references(url: str, body: bytes) -> tuple[str, ...]:
    """The EDS name of a cluster, or the RDS names of a listener."""
    return _named(url, body)[_FOLLOWS[url][0]]


def _named(url: str, body: bytes) -> dict[str, tuple[str, ...]]:
    """What a cluster or a listener refers to, by type."""
    message: Any = pb.parse(url, body)
    if url == CLUSTER:
        if message.type != pb.cluster.Cluster.EDS:
            return {ENDPOINT: ()}
        return {ENDPOINT: (message.eds_cluster_config.service_name or message.name,)}
    routes, extensions = [], []
    for chain in (*message.filter_chains, message.default_filter_chain):
        for network_filter in chain.filters:
            config = network_filter.typed_config
            if config.type_url.endswith("HttpConnectionManager"):
                manager: Any = pb.parse(config.type_url, config.value)
                extensions += [one.name for one in manager.http_filters if one.HasField("config_discovery")]
                if manager.HasField("rds"):
                    routes.append(manager.rds.route_config_name)
    return {ROUTE: tuple(dict.fromkeys(routes)), EXTENSION: tuple(dict.fromkeys(extensions))}
