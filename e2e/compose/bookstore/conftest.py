"""The bookstore of docker-compose.yml, up once for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.ports import free_port
from e2e.compose.conftest import PREFIX
from e2e.compose.load import ask
from e2e.compose.project import Project, standing, wait_until
from e2e.compose.stages import stage


@pytest.fixture(scope="package")
def ingress_port(docker: str) -> int:
    """Where the bookstore's gateway is published on the loopback."""
    return free_port()


@pytest.fixture(scope="package")
def bookstore(checkout: Path, ingress_port: int, environment: dict[str, str]) -> Iterator[Project]:
    """The project of docker-compose.yml, up and healthy; at the end it is down and nothing is left of it.

    Other projects come after it: 32 Envoys of one user are all that a machine has inotify instances for.
    """
    variables = {**environment, "INGRESS_PORT": str(ingress_port)}
    project = Project(f"{PREFIX}-bookstore", checkout, ("docker-compose.yml",), variables)
    with standing(project):
        with stage("bookstore: build and up until healthy") as remarks:
            project.up()
            remarks.append(f"{len(project.containers())} containers")
        with stage("bookstore: first page over the ingress"):
            wait_until(lambda: not ask(ingress_port).error, 30, lambda: ask(ingress_port).error)
        yield project
