"""A user's own compose files, meshed by one command, as running meshes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.ports import free_port
from controlplane.lab.programs import run
from e2e.compose.conftest import PREFIX
from e2e.compose.insight import addresses, endpoints, problems
from e2e.compose.load import Load, ask, hop
from e2e.compose.meshing import meshed
from e2e.compose.project import Project, standing, wait_until
from e2e.compose.stages import stage

FILES = Path(__file__).parent / "files"
IDENTITY = "spiffe://cluster.local/ns/default/sa"


@pytest.fixture(scope="module")
def shop_folder(docker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(FILES / "shop", folder)
    (folder / "mesh").mkdir()
    run("docker", "build", "--tag", "e2e-shop", str(folder))
    return folder


@pytest.fixture(scope="module")
def shop_port(docker: str) -> int:
    return free_port()


@pytest.fixture(scope="module")
def shop(shop_folder: Path, shop_port: int, environment: dict[str, str]) -> Iterator[Project]:
    """The shop with two pairs of its backend."""
    file = meshed(shop_folder / "docker-compose.yml", "docker-compose.mesh.yml", "--scale", "backend=2")
    project = Project(f"{PREFIX}-shop", shop_folder, (file,), {**environment, "SHOP_PORT": str(shop_port)})
    with standing(project):
        with stage("shop: up until healthy") as remarks:
            project.up()
            remarks.append(f"{len(project.containers())} containers")
        wait_until(lambda: not ask(shop_port).error, 30, lambda: ask(shop_port).error)
        yield project


def _host(project: Project, service: str) -> str:
    """The host name of a service that has chosen none: an id of the container that owns its network."""
    return project.container(f"{service}-envoy")[:12]


def test_a_shop_is_a_mesh(shop: Project, shop_port: int) -> None:
    page = ask(shop_port).page
    assert hop(ask(shop_port), "backend")["caller"] == f"{IDENTITY}/web"
    assert page["host"] == _host(shop, "web")
    greeting = hop(ask(shop_port), "backend")["hops"][0]
    assert greeting == {"name": "db", "greeting": "ready for queries"}
    assert problems(shop, level="error") == []


def test_a_profile_stays_a_profile(shop: Project) -> None:
    assert not shop.inspect("shell", "shell-envoy")
    assert "shell" in shop.compose("--profile", "tools", "config", "--services").split()


def test_both_pairs_answer(shop: Project, shop_port: int) -> None:
    with Load(shop_port, workers=2, pause=0.0) as load:
        wait_until(lambda: len(load.answers) >= 200, 30, load.said)
    assert load.failed == []
    assert {hop(answer, "backend")["host"] for answer in load.answers} == {
        _host(shop, "backend"),
        _host(shop, "backend-2"),
    }


def test_an_unhealthy_container_leaves_the_endpoints(shop: Project, shop_port: int) -> None:
    both = {f"{address}:8000" for address in addresses(shop, "backend-envoy", "backend-2-envoy")}
    one = {f"{address}:8000" for address in addresses(shop, "backend-envoy")}
    assert endpoints(shop, "backend", port=8000, seen_by="web") == both
    with Load(shop_port) as load:
        shop.run_in("backend-2", "touch", "/dev/shm/sick")
        with stage("unhealthy: out of the endpoints"):
            wait_until(
                lambda: endpoints(shop, "backend", port=8000, seen_by="web") == one, 30, lambda: "still there"
            )
        before = len(load.answers)
        wait_until(lambda: len(load.answers) > before + 50, 30, load.said)
        late = load.answers[before + 10 :]
        assert {hop(answer, "backend")["host"] for answer in late} == {_host(shop, "backend")}
        shop.run_in("backend-2", "rm", "/dev/shm/sick")
        with stage("healthy: back"):
            wait_until(
                lambda: endpoints(shop, "backend", port=8000, seen_by="web") == both, 30, lambda: "not there"
            )
    assert load.failed == []


def test_a_library_is_a_mesh(shop: Project, tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "library"
    shutil.copytree(FILES / "library", folder)
    (folder / "mesh").mkdir()
    port = free_port()
    file = meshed(folder / "docker-compose.yml", "docker-compose.mesh.yml")
    project = Project(f"{PREFIX}-library", folder, (file,), {**environment, "LIBRARY_PORT": str(port)})
    with standing(project):
        with stage("library: up until healthy") as remarks:
            project.up()
            remarks.append(f"{len(project.containers())} containers")
        wait_until(lambda: not ask(port).error, 30, lambda: ask(port).error)
        page = ask(port).page
        assert page["host"] == "library"
        assert {part["caller"] for part in page["hops"]} == {f"{IDENTITY}/librarian"}
        assert endpoints(project, "books", port=7000, seen_by="catalog") == {
            f"{address}:7000" for address in addresses(project, "books-v1-envoy", "books-v2-envoy")
        }
