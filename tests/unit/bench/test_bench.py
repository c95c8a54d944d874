"""The instruments: what measures must itself be right."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest

from bench.figures import quantile, summary, table, thinned
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet.http2 import Connection
from controlplane.lab.fleet.peer import DELTA_PATH, Parser, Peer, acknowledgement, introduction
from controlplane.model.kinds import BY_NAME


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 11)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.9, 1.0)] == [1.0, 6.0, 10.0, 10.0]
    assert summary([0.002, 0.001], 1000)["max"] == 2.0
    assert summary([]) == {"n": 0}


def test_a_thinned_sample_keeps_both_ends() -> None:
    sample = thinned(range(10_000), 100)
    assert (len(sample), sample[0], sample[-1]) == (100, 0, 9999)


def test_a_table_is_aligned() -> None:
    assert table(("what", "n"), [("a", 1.5), ("bcdef", None)]).splitlines() == [
        "| what  |   n |",
        "|-------|----:|",
        "| a     | 1.5 |",
        "| bcdef |     |",
    ]


def test_every_object_of_a_synthetic_mesh_is_valid() -> None:
    kinds = set()
    for raw in Mesh(services=20, namespaces=3).objects():
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None, parsed.problems
        assert parsed.problems == ()
        kinds.add(raw["kind"])
    assert kinds == {"Namespace", "Service", "EndpointSlice", "VirtualService", "DestinationRule"}


# -- the peer -----------------------------------------------------------------------------------------


def response(url: str, nonce: str, version: str = "v", removed=(), **bodies: bytes) -> bytes:
    message = pb.discovery.DeltaDiscoveryResponse(system_version_info=version, type_url=url, nonce=nonce)
    for name, body in bodies.items():
        one = message.resources.add(name=name, version=str(hash(body)))
        one.resource.type_url, one.resource.value = url, body
    message.removed_resources.extend(removed)
    return message.SerializeToString()


def eds_cluster(name: str) -> bytes:
    return pb.cluster.Cluster(name=name, type=pb.cluster.Cluster.EDS).SerializeToString()


class Wire:
    """A peer whose requests are read."""

    def __init__(self) -> None:
        self.sent: list = []
        self.peer = Peer(0, "ns0", introduction(Mesh(), 0), self._send)
        self.parser = Parser()

    def _send(self, data: bytes) -> None:
        self.sent.append(pb.discovery.DeltaDiscoveryRequest.FromString(data))

    def take(self, data: bytes) -> list:
        self.sent.clear()
        self.peer.take(*self.parser.parse(data))
        return self.sent


def test_a_peer_begins_as_envoy_does() -> None:
    wire = Wire()
    wire.peer.greet()
    assert [request.type_url for request in wire.sent] == [CLUSTER, LISTENER]
    assert wire.sent[0].node.id.startswith("sidecar~")
    assert not wire.sent[1].HasField("node")


def test_a_peer_acknowledges_and_subscribes_to_what_follows() -> None:
    wire = Wire()
    ack, follow = wire.take(response(CLUSTER, "1", a=eds_cluster("a"), b=eds_cluster("b")))
    assert (ack.type_url, ack.response_nonce) == (CLUSTER, "1")
    assert (follow.type_url, list(follow.resource_names_subscribe)) == (ENDPOINT, ["a", "b"])
    _, follow = wire.take(response(CLUSTER, "2", "w", removed=["a"], c=eds_cluster("c")))
    assert list(follow.resource_names_subscribe) == ["c"]
    assert list(follow.resource_names_unsubscribe) == ["a"]
    (ack,) = wire.take(response(ENDPOINT, "3", b=b"", c=b""))
    assert ack.response_nonce == "3"


def test_a_peer_is_warm_when_all_types_are_answered() -> None:
    wire = Wire()
    for url in (CLUSTER, ENDPOINT, LISTENER):
        wire.take(response(url, "1"))
        assert not wire.peer.warm
    wire.take(response(ROUTE, "1"))
    assert wire.peer.warm


def test_a_peer_that_comes_back_names_what_it_has() -> None:
    wire = Wire()
    wire.take(response(CLUSTER, "1", a=eds_cluster("a")))
    wire.sent.clear()
    wire.peer.greet()
    clusters, _, endpoints = wire.sent
    assert list(clusters.initial_resource_versions) == ["a"]
    assert list(endpoints.resource_names_subscribe) == ["a"]


def test_equal_responses_are_parsed_once_and_each_nonce_is_read() -> None:
    parser = Parser()
    first, nonce = parser.parse(response(ENDPOINT, "1", a=b"x"))
    again, other = parser.parse(response(ENDPOINT, "2", a=b"x"))
    assert first is again
    read = pb.discovery.DeltaDiscoveryRequest.FromString
    assert read(acknowledgement(first, nonce)).response_nonce == "1"
    assert read(acknowledgement(again, other)).response_nonce == "2"
    assert parser.parse(response(ENDPOINT, "1", "w", a=b"y"))[0] is not first


# -- the connection -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
def test_messages_of_all_sizes_go_both_ways_over_grpc(size: int, tmp_path) -> None:
    async def echo(_: object, context) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:
            await context.write(data)

    async def test() -> None:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        service, method = DELTA_PATH[1:].split("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix:{tmp_path}/s")
        await server.start()
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{tmp_path}/s")
        sock.setblocking(False)
        got: list[bytes] = []
        connection = Connection(sock, got.append, pytest.fail)
        loop, buffer = asyncio.get_running_loop(), memoryview(bytearray(1 << 16))
        loop.add_reader(sock, connection.readable, buffer)
        connection.open(DELTA_PATH)
        try:
            for n in range(3):
                connection.send(bytes([n]) * size)
            async with asyncio.timeout(10):
                while len(got) < 3:
                    connection.writable()
                    await asyncio.sleep(0.001)
        finally:
            loop.remove_reader(sock)
            connection.close()
            await server.stop(0)
        assert got == [bytes([n]) * size for n in range(3)]

    asyncio.run(test())


def test_the_end_of_a_stream_is_told_once(tmp_path) -> None:
    async def refuse(_: object, context) -> None:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no")

    async def test() -> None:
        server = grpc.aio.server()
        service, method = DELTA_PATH[1:].split("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(refuse)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix:{tmp_path}/s")
        await server.start()
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{tmp_path}/s")
        sock.setblocking(False)
        ends: list[str] = []
        connection = Connection(sock, lambda data: None, ends.append)
        connection.open(DELTA_PATH)
        async with asyncio.timeout(5):
            while not ends:
                await asyncio.sleep(0.01)
                connection.readable(memoryview(bytearray(1 << 16)))
        assert ends == ["stream ended by the server"]
        assert connection.ended
        await server.stop(0)

    asyncio.run(test())
