"""A real Envoy whose virtual hosts come on demand: the first request for a host waits for it and goes on."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from controlplane.lab.fetch import Answer, Target, connect
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory
from tests.support.files import MeshFiles, Object
from tests.support.plane import Served, serving_files
from tests.support.waiting import until

pytestmark = MARKS

SERVICES = 300
PORT = 8080
BACKEND = "10.244.0.3"
APP = """
import http.server

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        sent = self.rfile.read(int(self.headers.get("content-length", "0")))
        body = self.headers.get("x-from", "nobody").encode() + b" " + sent
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Echo).serve_forever()
"""


def routed(name: str, mark: str) -> Object:
    """A VirtualService that shows which version of it a request met."""
    rule = {
        "headers": {"request": {"set": {"x-from": mark}}},
        "route": [{"destination": {"host": name}}],
    }
    return a.thing("VirtualService", name, "default", {"spec": {"hosts": [name], "http": [rule]}})


class Scene:
    """A client's pod with an Envoy, a backend without one, and the control plane between them."""

    def __init__(self, lab: Lab, served: Served) -> None:
        self.served = served
        self.files = served.files
        script = lab.directory / "echo.py"
        script.write_text(APP)
        self.backend = lab.start(PodSpec("backend", "default", BACKEND, app=App(script, port=PORT)), None)
        spec = PodSpec("client", "default", "10.244.0.2", labels={"app": "client"})
        stats = ("cluster.xds-grpc", "http.outbound")
        self.client = lab.start(spec, Sidecar(served.address, "DELTA_GRPC", stats=stats))

    async def get(self, host: str, body: bytes = b"") -> Answer:
        """A request to the backend's address: where it goes is up to its Host header."""
        return await asyncio.to_thread(request, self.client, host, body)

    async def hosts(self) -> set[str]:
        """The virtual hosts that Envoy has for the port."""
        dump: Any = await asyncio.to_thread(self.client.admin.config_dump, "resource=dynamic_route_configs")
        found = [one["route_config"] for one in dump.get("configs", [])]
        return {
            host["name"] for one in found for host in one.get("virtual_hosts", []) if one["name"] == "8080"
        }

    async def stat(self, name: str) -> int:
        return sum((await asyncio.to_thread(self.client.admin.stats, name)).values())

    async def eventually(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        for _ in range(200):
            if await condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never: {what}")

    async def says(self, host: str, mark: str) -> bool:
        return (await self.get(host)).body.startswith(mark.encode())


def request(pod: Pod, host: str, body: bytes) -> Answer:
    target = Target(pod.netns, BACKEND, PORT)
    connection = http.client.HTTPConnection(target.host, target.port, timeout=5.0)
    connection.sock = connect(target, 5.0)
    try:
        connection.request(
            "POST" if body else "GET", "/", body or None, {"Host": host, "Connection": "close"}
        )
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


async def play(scene: Scene) -> None:
    files = scene.files
    assert await scene.hosts() == set(), "nothing was asked for"

    # The first request for a host waits for it, with a body too, by any name and whatever the case.
    assert (await scene.get("s1")).body == b"one "
    assert (await scene.get("s2.default", b"hello")).body == b"nobody hello"
    assert (await scene.get("S1.Default.svc.cluster.local:8080")).body == b"one "
    assert (await scene.get("s1")).status == 200
    # What filters do on behalf of a route they do on the first request, too.
    assert (await scene.get("s7")).status == 418
    known = {"8080/s7", "8080/s1", "8080/s2.default", "8080/s1.default.svc.cluster.local:8080"}
    assert await scene.hosts() == known

    # A change of a known host comes by itself, and is all that comes; that of another host does not.
    before = await scene.stat("cluster.xds-grpc.upstream_cx_rx_bytes_total")
    files.put(routed("s1", "two"))
    await scene.eventually(lambda: scene.says("s1", "two"), "the changed route")
    await scene.served.quiet()
    changed = await scene.stat("cluster.xds-grpc.upstream_cx_rx_bytes_total")
    # Two names of it are known.
    assert changed - before < 2 * 2000
    files.put(routed("s9", "nine"))
    await scene.served.quiet()
    await asyncio.sleep(0.1)
    unconcerned = await scene.stat("cluster.xds-grpc.upstream_cx_rx_bytes_total") - changed
    assert unconcerned < 200, "keepalive at most"

    await strangers(scene)

    # After a reconnect Envoy has what it had, and is followed up.
    (stream,) = scene.served.app.xds.streams
    stream.end()
    await until(lambda: scene.served.app.xds.streams not in ((), (stream,)), "the reconnect")
    await scene.served.quiet()
    files.put(routed("s1", "three"))
    await scene.eventually(lambda: scene.says("s1", "three"), "the route after the reconnect")
    assert known <= await scene.hosts()
    many = await asyncio.gather(*(scene.get(f"s{n}") for n in range(20, 40)))
    assert [answer.status for answer in many] == [200] * len(many)

    assert await asyncio.to_thread(scene.client.admin.rejected) == {}


async def strangers(scene: Scene) -> None:
    """Hosts that nobody has go where the outbound traffic policy says; what they become, they are."""
    files = scene.files
    assert (await scene.get("nobody.example.org")).body == b"nobody "
    assert "8080/nobody.example.org" in await scene.hosts()
    files.write("mesh.yaml", {"kind": "MeshConfig", "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})

    async def refused() -> bool:
        return (await scene.get("nobody.example.org")).status == 502

    await scene.eventually(refused, "the refusal of a stranger that was let through before")
    assert (await scene.get("other.example.org")).status == 502
    assert (await scene.get("s1")).status == 200

    entry = {
        "hosts": ["nobody.example.org"],
        "resolution": "STATIC",
        "location": "MESH_EXTERNAL",
        "ports": [{"number": PORT, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": BACKEND}],
    }
    files.put(a.thing("ServiceEntry", "nobody", "default", {"spec": entry}))
    await scene.eventually(lambda: scene.says("nobody.example.org", "nobody"), "the stranger that joined")

    # What must not become a virtual host is answered, and does not shut the door for others.
    assert (await scene.get("*")).status == 404
    assert (await scene.get("s4.default")).status == 200


def test_virtual_hosts_on_demand(tmp_path: Path) -> None:
    async def run(lab: Lab) -> None:
        files = MeshFiles(lab.directory / "config")
        numbers = range(1, SERVICES + 1)
        files.write("services.yaml", *(a.service(f"s{n}", ports="http=8080", number=n + 10) for n in numbers))
        files.write("endpoints.yaml", *(a.endpoints(f"s{n}", [BACKEND]) for n in numbers))
        files.put(routed("s1", "one"))
        fault = {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}
        broken = {"fault": fault, "route": [{"destination": {"host": "s7"}}]}
        files.put(a.thing("VirtualService", "s7", "default", {"spec": {"hosts": ["s7"], "http": [broken]}}))
        async with serving_files(files, lab.directory / "xds.sock", "--on-demand-virtual-hosts") as served:
            scene = Scene(lab, served)
            await asyncio.to_thread(lab.wait_ready)
            served.envoys = 1
            await served.quiet()
            await play(scene)

    with laboratory(tmp_path) as lab:
        asyncio.run(run(lab))
