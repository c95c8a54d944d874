"""One compose project under test: started from a copy of its files, looked into, taken away.

The checkout is never edited and never mounted: what a test changes is its own copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from controlplane.lab import waiting
from controlplane.lab.facts import compose_commands
from controlplane.lab.programs import ProgramFailed, run
from controlplane.lab.shop import SAMPLE
from e2e.compose.images import build_command
from e2e.compose.machine import CHECKOUT, Impossible
from e2e.compose.stages import stage

# Tags of our own: those without one may be in use on this machine.
IMAGE = os.environ.get("E2E_IMAGE", "mini-istiod:e2e")
BOOKSTORE = "bookstore:e2e"
# Services that do one thing and end.
_JOBS = ("-init", "-provision")
_IMAGE_LINE = re.compile(r"^(\s*image: )(mini-istiod|bookstore)$", re.MULTILINE)
_NOT_COPIED = ("__pycache__", "reports", "bench", "tests", "node_modules", "*.egg-info", ".[!d]*")


@cache
def compose_command() -> tuple[str, ...]:
    """Compose, as it is installed; of two the older one, whose ways are harder.  Impossible without it."""
    found = tuple(compose_commands(os.environ.get("PATH", "")))
    if not found:
        raise Impossible("docker-compose is not installed; on Debian: apt-get install docker-compose")
    return found[-1]


def compose_version() -> str:
    """What Compose says of itself, in one line."""
    return run(*compose_command(), "version").splitlines()[0]


def build_images() -> str:
    """Build the images of docker-compose.yml from the checkout, tagged for tests; returns a line on it."""
    started = time.monotonic()
    run(*build_command(IMAGE), str(CHECKOUT), timeout=900)
    # Compose would build it, too, but there are tests that only use what is there.
    run(*build_command(BOOKSTORE), str(SAMPLE), timeout=120)
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", IMAGE))
    took = time.monotonic() - started
    return f"{IMAGE} ({size / 1e6:.0f} MB) and {BOOKSTORE}: built in {took:.0f} s"


def copy_of_the_checkout(target: Path) -> Path:
    """A copy of what a user has after a clone; its compose files name the images of the tests."""
    shutil.copytree(CHECKOUT, target, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    for file in (target / "docker-compose.yml", *sorted(target.glob("deploy/**/docker-compose*.yml"))):
        file.write_text(_IMAGE_LINE.sub(_tagged, file.read_text()))
    return target


def _tagged(line: re.Match[str]) -> str:
    return line[1] + (IMAGE if line[2] == "mini-istiod" else BOOKSTORE)


@dataclass(frozen=True, slots=True)
class Project:
    """A compose project `name` of the `files` in `folder`; `env` fills in the variables in them."""

    name: str
    folder: Path
    files: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, timeout: float = 300.0) -> str:
        """Run a compose command on this project; its standard output."""
        named = [part for file in self.files for part in ("--file", file)]
        command = (*compose_command(), "--project-name", self.name, *named, *arguments)
        return run(*command, timeout=timeout, env=self.env, cwd=self.folder)

    def with_files(self, *files: str) -> Project:
        """The same project, described by other files."""
        return Project(self.name, self.folder, files, self.env)

    def up(self, *services: str, timeout: float = 300.0) -> None:
        """`up --detach`, then wait until every container that has a health check is healthy."""
        try:
            self.compose("up", "--detach", *services, timeout=timeout)
            wait_until(lambda: not self.unready(), timeout, lambda: f"not ready: {self.unready()}")
        except (ProgramFailed, AssertionError) as error:
            said = [f"{name} is {state} and says: {words(name)}" for name, state in self.unready().items()]
            raise AssertionError("\n".join([str(error), *said])) from None

    def unready(self) -> dict[str, str]:
        """The containers that are not as they should be, and what they are: unhealthy, exited (1), …"""
        return {c["Name"].lstrip("/"): state for c in self.inspect() if (state := _unready(c))}

    def containers(self) -> list[str]:
        """The ids of all containers of the project, running or not."""
        return run("docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", self.mine).split()

    @property
    def mine(self) -> str:
        """The filter for what belongs to the project."""
        return f"label=com.docker.compose.project={self.name}"

    def inspect(self, *services: str) -> list[dict[str, Any]]:
        """`docker inspect` of the containers of these services, or of all."""
        ids = self.containers()
        found = json.loads(run("docker", "inspect", *ids)) if ids else []
        label = "com.docker.compose.service"
        return [c for c in found if not services or c["Config"]["Labels"][label] in services]

    def container(self, service: str) -> str:
        """The id of the one container of a service."""
        found = [c["Id"] for c in self.inspect(service)]
        assert len(found) == 1, f"{service} has {len(found)} containers"
        return str(found[0])

    def run_in(self, service: str, *command: str, timeout: float = 60.0) -> str:
        """Run a program inside a service's container."""
        return run("docker", "exec", self.container(service), *command, timeout=timeout)

    def logs(self, service: str) -> str:
        """What a service wrote."""
        return self.compose("logs", "--no-color", service)

    def down(self, *options: str) -> None:
        """`down --volumes`, with orphans.  Nobody visits any more, so nobody is given time."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1", *options)

    def leftovers(self, containers: list[str]) -> list[str]:
        """What is still there of a project that is down, given the ids that its containers had."""
        commands = {
            "container": ("ps", "--all"),
            "network": ("network", "ls"),
            "volume": ("volume", "ls"),
        }
        found = [
            f"{kind} {name}"
            for kind, command in commands.items()
            for name in run("docker", *command, "--quiet", "--filter", self.mine).split()
        ]
        return found + [f"process {pid} of {id}" for pid, id in _processes_of(containers)]


def _unready(container: Mapping[str, Any]) -> str:
    state = container["State"]
    job = container["Config"]["Labels"]["com.docker.compose.service"].endswith(_JOBS)
    if job and state["Status"] == "exited" and state["ExitCode"] == 0:
        return ""
    if state["Status"] != "running":
        return f"{state['Status']} ({state['ExitCode']})"
    health = state.get("Health", {}).get("Status", "healthy")
    return "" if health == "healthy" else str(health)


def words(container: str, most: int = 8) -> str:
    """What a container wrote: its first lines and its last."""
    command = ["docker", "logs", container]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    lines = said.strip().splitlines()
    return "\n".join(lines if len(lines) <= most else [*lines[: most // 2], "…", *lines[-most // 2 :]])


def _processes_of(containers: list[str]) -> Iterator[tuple[str, str]]:
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = group.read_text()
        except OSError:
            # It has ended between the look at the folder and the look at the file.
            continue
        yield from ((group.parent.name, id) for id in containers if id in text)


def wait_until(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> float:
    """Ask until `condition` holds; returns the seconds that took.  AssertionError after `seconds`."""
    started = time.monotonic()
    # Most questions start a program.
    if not waiting.wait_until(condition, seconds, pause=0.1):
        raise AssertionError(f"not within {seconds:g} s: {what()}")
    return time.monotonic() - started


@contextmanager
def standing(project: Project) -> Iterator[Project]:
    """The project for as long as the block takes; AssertionError if it leaves anything behind."""
    try:
        yield project
    finally:
        containers = project.containers()
        with stage(f"{project.name.split('-')[-1]}: down --volumes, nothing left"):
            project.down()
            left = project.leftovers(containers)
            # A test that failed may have brought up more than the project's files name.
            if volumes := run("docker", "volume", "ls", "--quiet", "--filter", project.mine).split():
                run("docker", "volume", "rm", *volumes)
        assert not left, f"`down --volumes` of {project.name} left {left}"
