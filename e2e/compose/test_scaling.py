"""The plain bookstore, meshed by the command, and scaled by it while visitors come and go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.ports import free_port
from controlplane.lab.programs import run
from e2e.compose.conftest import PREFIX
from e2e.compose.edits import route_reviews
from e2e.compose.insight import now, problems, sees
from e2e.compose.load import Load, ask
from e2e.compose.meshing import mesh, meshed
from e2e.compose.project import Project, standing, wait_until
from e2e.compose.stages import stage

ALWAYS = ("reviews-v1-envoy", "reviews-v2-envoy", "reviews-v3-envoy")
MORE = ("reviews-v2-2", "reviews-v2-3")


@pytest.fixture(scope="module")
def port(docker: str) -> int:
    return free_port()


@pytest.fixture(scope="module")
def plain(checkout: Path, port: int, environment: dict[str, str]) -> Iterator[Project]:
    """deploy/bookstore, meshed, with a gateway and Istio's objects of the checkout."""
    route_reviews(checkout / "mesh", {"v1": 50, "v2": 50})
    source = checkout / "deploy/bookstore/docker-compose.yml"
    file = meshed(source, "docker-compose.mesh.yml", "--gateway", "--mesh-dir", "../../mesh")
    variables = {**environment, "INGRESS_PORT": str(port), "PAGE_PORT": str(free_port())}
    project = Project(f"{PREFIX}-plain", source.parent, (file,), variables)
    with standing(project):
        with stage("meshed bookstore: up until healthy") as remarks:
            project.up()
            remarks.append(f"{len(project.containers())} containers")
        wait_until(lambda: not ask(port).error, 30, lambda: ask(port).error)
        yield project


def test_the_command_brings_nothing_that_the_control_plane_complains_of(plain: Project) -> None:
    assert problems(plain) == []


def test_meshed_again_it_is_the_same_file(plain: Project) -> None:
    file = plain.folder / plain.files[0]
    assert mesh(file) == file.read_text()


def test_scale_up_and_back_under_load(plain: Project, port: int) -> None:
    scaled = plain.with_files(
        meshed(plain.folder / plain.files[0], "docker-compose.scaled.yml", "--scale", "reviews-v2=3")
    )
    with Load(port) as load:
        with stage("scale: reviews-v2 from 1 to 3") as remarks:
            scaled.up()
            everybody = (*ALWAYS, *(f"{name}-envoy" for name in MORE))
            wait_until(lambda: sees(scaled, "reviews", *everybody), 30, lambda: now(scaled, "reviews"))
            remarks.append(load.said())
        time.sleep(1.0)
        with stage("scale: back to 1") as remarks:
            back = meshed(
                scaled.folder / scaled.files[0], "docker-compose.back.yml", "--scale", "reviews-v2=1"
            )
            # Compose kills what it removes.  What is stopped first may finish what it does.
            scaled.compose("stop", *(f"{name}{part}" for name in MORE for part in ("", "-envoy")))
            scaled.with_files(back).compose("up", "--detach", "--remove-orphans")
            # No file names them any more, so that `down --volumes` would leave them.
            run("docker", "volume", "rm", *(f"{plain.name}_{name}-proxy" for name in MORE))
            wait_until(lambda: sees(plain, "reviews", *ALWAYS), 30, lambda: now(plain, "reviews"))
            remarks.append(load.said())
        time.sleep(1.0)
    assert load.failed == [], load.said()
    assert (plain.folder / back).read_text() == (plain.folder / plain.files[0]).read_text()
    assert not plain.inspect(*MORE, *(f"{name}-envoy" for name in MORE))
