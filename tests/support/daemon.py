"""A real Docker daemon: whether there is one, containers that go away with the test, and a line to cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from types import TracebackType

from controlplane.lab.programs import ProgramFailed, run

SOCKET = Path(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
IMAGES = ("python:3.11-slim", "debian:bookworm-slim", "busybox:latest", "alpine:latest")
"""Images with a shell, of which one has to be there: nothing is pulled."""


def missing() -> str:
    """Why tests with containers cannot run here, "" when they can."""
    if not SOCKET.is_socket():
        return f"no Docker daemon listens at {SOCKET}"
    try:
        return "" if image() else f"Docker has none of the images {', '.join(IMAGES)}"
    except FileNotFoundError:
        return "there is no docker command"
    except ProgramFailed as error:
        return "Docker cannot be used: " + " ".join(str(error).split())


def image() -> str:
    """The first of IMAGES that is there, "" for none."""
    text = call("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    return next((one for one in IMAGES if one in text.split()), "")


def call(*arguments: str) -> str:
    """What a docker command prints; ProgramFailed when it fails."""
    return run("docker", *arguments, timeout=60).strip()


class Yard:
    """Containers and networks of one test, with its own Compose project; all are removed in the end."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.image = image()
        self._networks: list[str] = []

    async def __aenter__(self) -> Yard:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        label = f"label=com.docker.compose.project={self.project}"
        left = (await self.docker("ps", "-aq", "--filter", label)).split()
        if left:
            await self.docker("rm", "-f", "-v", *left)
        for one in self._networks:
            await self.docker("network", "rm", one)

    async def docker(self, *arguments: str) -> str:
        """What a docker command prints, without holding up the loop."""
        return await asyncio.to_thread(call, *arguments)

    async def network(self, name: str, *options: str) -> str:
        """A network of the project; its full name."""
        full = f"{self.project}_{name}"
        await self.docker("network", "create", *options, full)
        self._networks.append(full)
        return full

    async def run(self, service: str, network: str, *options: str, shell: str = "exec sleep 600") -> str:
        """Start a container of a service; its name.  `shell` is what it runs, after `--init`."""
        name = f"{self.project}_{service}_1"
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        named = [f"--label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        fixed = ("--init", "--name", name, "--network", network, "--network-alias", service, "--expose", "80")
        await self.docker("run", "-d", *fixed, *named, *options, self.image, "sh", "-c", shell)
        return name


class Line:
    """A Unix socket at `here` that leads to another one, until it is cut (or frozen: open, and silent)."""

    def __init__(self, here: Path, there: Path) -> None:
        self.here, self._there = here, there
        self.frozen = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def connect(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.here)

    async def cut(self) -> None:
        """Nobody listens, and nobody who was connected still is."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.here.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._there)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    if not self.frozen:
                        sink.write(data)
                        await sink.drain()
        finally:
            sink.close()
