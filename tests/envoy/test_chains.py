"""A real Envoy takes the filter chain that was meant: HTTP by its routes, anything else to its cluster.

Listeners are bound to a free port of the loopback instead of being reached through redirects, and the
clusters lead to a small server that says how it was spoken to.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy import pb
from controlplane.envoy.listeners import inbound_listeners
from controlplane.envoy.routes import inbound_routes, passthrough_routes
from controlplane.lab.ports import free_port
from controlplane.lab.tools import find_envoy
from controlplane.mesh.projections import Binding, Inbound, Security
from controlplane.mesh.service import ServiceId
from tests.envoy.test_accepts import inline
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import service

pytestmark = pytest.mark.envoy

HTTP = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
TLS = b"\x16\x03\x01\x00\x05hello"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nweb"


@pytest.fixture
def upstream() -> Iterator[int]:
    """A server that answers HTTP with "web" and echoes anything else."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                data = connection.recv(4096)
                connection.sendall(ANSWER if data.startswith(b"GET") else b"echo " + data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def bound(listener: Any, port: int) -> dict[str, Any]:
    """The listener on a port of its own."""
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = port
    listener.ClearField("bind_to_port")
    return json_format.MessageToDict(listener, preserving_proto_field_name=True)


def leads_to(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


@contextmanager
def running(folder: Path, listener: dict[str, Any], clusters: list[dict[str, Any]]) -> Iterator[int]:
    """Envoy with this listener, ready; yields the listener's port."""
    try:
        envoy = find_envoy(os.environ)
    except EnvironmentUnfit as missing:
        pytest.skip(str(missing))
    config = {
        "node": {"id": "t", "cluster": "t"},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }
    path = folder / "envoy.json"
    path.write_text(json.dumps(config))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [envoy, "-c", path, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"], stderr=log
        )
    port = listener["address"]["socket_address"]["port_value"]
    try:
        for _ in range(200):
            assert process.poll() is None, (folder / "log").read_text()
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def say(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(data)
        out = b""
        while chunk := one.recv(4096):
            out += chunk
        return out


def check(port: int) -> None:
    web = say(port, HTTP)
    assert web.endswith(b"web")
    assert b"x-envoy-upstream-service-time" in web.lower()
    assert say(port, b"hello, world\r\n") == b"echo hello, world\r\n"
    assert say(port, TLS) == b"echo " + TLS


def test_outbound_where_the_protocol_is_found_out(tmp_path: Path, upstream: int) -> None:
    world = Traffic(service("a", "web=84", ip="10.96.0.1"))
    listener = bound(inline(world.listeners()["10.96.0.1_84"], world.routes()), free_port())
    with running(
        tmp_path, listener, [leads_to("outbound|84||a.default.svc.cluster.local", upstream)]
    ) as port:
        check(port)


def test_outbound_http_port_with_strangers(tmp_path: Path, upstream: int) -> None:
    world = Traffic(service("a", "http=84", ip="10.96.0.1"))
    listener = bound(inline(world.listeners()["0.0.0.0_84"], world.routes()), free_port())
    clusters = [
        leads_to("outbound|84||a.default.svc.cluster.local", upstream),
        leads_to("PassthroughCluster", upstream),
    ]
    with running(tmp_path, listener, clusters) as port:
        check(port)


@pytest.mark.parametrize("declared", [True, False])
def test_inbound_where_the_protocol_is_found_out(tmp_path: Path, upstream: int, declared: bool) -> None:
    port = free_port()
    target = port if declared else 1
    binding = Binding(ServiceId("a.default.svc.cluster.local", "default"), 80, target, "AUTO")
    inbound = Inbound("default", (binding,))
    world = Traffic()
    message = pb.listener.Listener.FromString(world.map(inbound_listeners, inbound)["virtualInbound"].body)
    found = world.map(inbound_routes, inbound) | world.map(passthrough_routes, "default", Security())
    routes = {name: pb.route.RouteConfiguration.FromString(one.body) for name, one in found.items()}
    cluster = f"inbound|{port}||" if declared else "InboundPassthroughCluster"
    with running(tmp_path, bound(inline(message, routes), port), [leads_to(cluster, upstream)]):
        check(port)
