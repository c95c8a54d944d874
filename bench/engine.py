"""A Docker that is played, in a process of its own: it answers HTTP on a Unix socket as Docker 20.10 does.

Services of some workloads each, with sidecars: a workload is three containers that share a network, as in
docs/compose.md.  The answers have the fields that Docker's have, labels of Compose included, so that their
length is right; most of them nobody reads.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

from aiohttp import web

from controlplane.envoy.bootstrap import Node
from controlplane.lab.child import serve

PROJECT, NETWORK = "shop", "shop_default"
PORT = 9080
_PARTS = ("envoy", "init", "app")
_FILLER = {f"Setting{n}": None for n in range(60)}


class Site(NamedTuple):
    """How many there are; `protocol` is that of all ports, "" to be found out."""

    services: int
    replicas: int
    protocol: str = ""

    @property
    def workloads(self) -> int:
        return self.services * self.replicas

    def node(self, i: int) -> Node:
        """The sidecar of workload i, as its bootstrap has it."""
        labels = {"app": self.service(i)}
        return Node("0.0.0.0", self.workload(i), "default", labels=labels, service_account=self.service(i))

    def service(self, i: int) -> str:
        return f"s{i % self.services}"

    def workload(self, i: int) -> str:
        return f"{self.service(i)}-{i // self.services + 1}"


def main(pipe: Pipe, path: str, site: Site) -> None:
    """The process."""
    asyncio.run(_serve(pipe, path, site))


async def _serve(pipe: Pipe, path: str, site: Site) -> None:
    engine = _Engine(site)
    app = web.Application()
    app.router.add_get("/_ping", engine.ping)
    app.router.add_get("/v1.41/containers/json", engine.listed)
    app.router.add_get("/v1.41/containers/{id}/json", engine.inspected)
    app.router.add_get("/v1.41/events", engine.events)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    try:
        await serve(pipe, engine.answer)
    finally:
        await runner.cleanup()


class _Engine:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._lists = 0
        self._free = site.workloads + 2
        self._streams: list[asyncio.Queue[bytes]] = []
        self._remembered: deque[tuple[float, bytes]] = deque(maxlen=256)
        # By id: (workload, part).
        self._ids = {_id(site.workload(i), part): (i, part) for i in range(site.workloads) for part in _PARTS}
        self._addresses = {i: _address(i + 2) for i in range(site.workloads)}
        self._running = dict.fromkeys(self._addresses, True)
        self._started = dict.fromkeys(self._addresses, time.time() - 3600)

    # -- what the parent asks -------------------------------------------------------------------

    async def answer(self, op: str, arguments: dict[str, Any]) -> Any:
        if op == "lists":
            return {"lists": self._lists, "bytes": len(json.dumps(self._list()))}
        i = arguments["workload"]
        if op == "kill":
            self._tell(i, "app", "kill", signal="15")
        elif op == "die":
            self._running[i] = False
            for part in ("app", "envoy"):
                self._tell(i, part, "die", exitCode="0")
        elif op == "start":
            self._running[i] = True
            self._started[i] = time.time()
            self._addresses[i] = _address(self._free)
            self._free += 1
            for part in ("envoy", "app"):
                self._tell(i, part, "start")
        return None

    def _tell(self, i: int, part: str, action: str, **attributes: str) -> None:
        now = time.time_ns()
        actor = {
            "ID": _id(self._site.workload(i), part),
            "Attributes": {**self._labels(i, part), **attributes},
        }
        said = {"Type": "container", "Action": action, "Actor": actor, "time": now // 10**9, "timeNano": now}
        line = json.dumps(said).encode() + b"\n"
        self._remembered.append((now / 1e9, line))
        for stream in self._streams:
            stream.put_nowait(line)

    # -- what the source asks -------------------------------------------------------------------

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK", headers={"Api-Version": "1.41"})

    async def listed(self, request: web.Request) -> web.Response:
        self._lists += 1
        return web.json_response(self._list())

    async def inspected(self, request: web.Request) -> web.Response:
        return web.json_response(self._inspect(*self._ids[request.match_info["id"]]))

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        mine: asyncio.Queue[bytes] = asyncio.Queue()
        for at, line in self._remembered:
            if at >= float(request.query["since"]):
                mine.put_nowait(line)
        self._streams.append(mine)
        try:
            async with asyncio.timeout(max(0.0, float(request.query["until"]) - time.time())):
                while True:
                    await response.write(await mine.get())
        except TimeoutError:
            return response
        finally:
            self._streams.remove(mine)

    # -- containers -----------------------------------------------------------------------------

    def _list(self) -> list[dict[str, Any]]:
        return [self._short(i, part) for i, part in self._ids.values()]

    def _short(self, i: int, part: str) -> dict[str, Any]:
        running = self._running[i] and part != "init"
        return {
            "Id": _id(self._site.workload(i), part),
            "Names": [f"/{self._name(i, part)}"],
            "Image": "mini-istiod",
            "ImageID": "sha256:" + "0" * 64,
            "Command": "/usr/local/bin/python server.py",
            "Created": 1795189200,
            "Ports": [{"PrivatePort": PORT, "Type": "tcp"}] if running else [],
            "Labels": self._labels(i, part),
            "State": "running" if running else "exited",
            "Status": "Up 2 hours (healthy)" if running else "Exited (0) 2 hours ago",
            "HostConfig": {"NetworkMode": self._mode(i, part)},
            "NetworkSettings": {"Networks": dict(self._networks(i, part))},
            "Mounts": [],
        }

    def _inspect(self, i: int, part: str) -> dict[str, Any]:
        running = self._running[i] and part != "init"
        state: dict[str, Any] = {"Status": "running" if running else "exited"}
        if part != "init":
            state["Health"] = {"Status": "healthy" if running else "unhealthy", "Log": []}
        began = datetime.fromtimestamp(self._started[i] + _PARTS.index(part) / 1000, UTC)
        exposed = {} if part == "init" else {f"{PORT}/tcp": {}}
        return {
            "Id": _id(self._site.workload(i), part),
            "Name": f"/{self._name(i, part)}",
            "Created": "2026-11-20T15:00:00.000000000Z",
            "State": {**state, "StartedAt": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
            "Config": {**_FILLER, "Labels": self._labels(i, part), "ExposedPorts": exposed},
            "HostConfig": {**_FILLER, "NetworkMode": self._mode(i, part), "PortBindings": {}},
            "NetworkSettings": {"Networks": dict(self._networks(i, part))},
        }

    def _networks(self, i: int, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if part != "envoy":
            return
        name = self._site.workload(i)
        yield (
            NETWORK,
            {
                "Aliases": [self._site.service(i), name, f"{name}-envoy", _id(name, part)[:12]],
                "NetworkID": "0" * 64,
                "EndpointID": "0" * 64,
                "Gateway": "172.18.0.1",
                "IPAddress": self._addresses[i] if self._running[i] else "",
                "GlobalIPv6Address": "",
                "MacAddress": "02:42:ac:12:00:02",
            },
        )

    def _mode(self, i: int, part: str) -> str:
        return NETWORK if part == "envoy" else f"container:{_id(self._site.workload(i), 'envoy')}"

    def _name(self, i: int, part: str) -> str:
        return f"{PROJECT}_{self._service(i, part)}_1"

    def _service(self, i: int, part: str) -> str:
        name = self._site.workload(i)
        return name if part == "app" else f"{name}-{part}"

    def _labels(self, i: int, part: str) -> dict[str, str]:
        found = {
            "com.docker.compose.config-hash": "0" * 64,
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.project": PROJECT,
            "com.docker.compose.project.config_files": "docker-compose.yml",
            "com.docker.compose.project.working_dir": "/srv/shop",
            "com.docker.compose.service": self._service(i, part),
            "com.docker.compose.version": "1.29.2",
        }
        if part == "envoy":
            found["mini-istiod.proxy"] = self._site.workload(i)
        elif part == "init":
            found["mini-istiod.init"] = "true"
        else:
            found["mini-istiod.service"] = self._site.service(i)
            found["mini-istiod.account"] = self._site.service(i)
            if self._site.protocol:
                found["mini-istiod.protocol"] = self._site.protocol
        return found


def _id(workload: str, part: str) -> str:
    return hashlib.sha256(f"{workload}/{part}".encode()).hexdigest()


def _address(n: int) -> str:
    return f"172.18.{n // 256}.{n % 256}"
