"""What happens to containers while visitors come and go: none of them may notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.lab.programs import run
from e2e.compose.edits import route_reviews
from e2e.compose.insight import addresses, endpoints, now, problems, sees
from e2e.compose.load import Load, ask, hop, versions
from e2e.compose.project import IMAGE, Project, wait_until
from e2e.compose.stages import stage


@pytest.fixture(autouse=True)
def half_of_the_readers_get_v2(bookstore: Project, checkout: Path) -> None:
    route_reviews(checkout / "mesh", {"v1": 50, "v2": 50})


@pytest.fixture
def load(bookstore: Project, ingress_port: int) -> Iterator[Load]:
    """Visitors during the whole test; it fails if one of them met an error."""
    with Load(ingress_port) as load:
        wait_until(lambda: len(load.answers) > 50, 30, load.said)
        yield load
    assert load.failed == [], load.said()


# From outside of the container: what its own processes send to the first one is ignored, and what
# `docker kill` sends counts as asked for, so that nobody starts it again.
_KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


def test_the_control_plane_is_killed(bookstore: Project, checkout: Path, load: Load) -> None:
    before = bookstore.inspect("mini-istiod")[0]
    with stage("kill -9 of the control plane: healthy again") as remarks:
        outside = ("docker", "run", "--rm", "--pid", "host", "--user", "0:0", "--entrypoint", "python3")
        run(*outside, IMAGE, "-c", _KILL, str(before["State"]["Pid"]))
        wait_until(
            lambda: bookstore.inspect("mini-istiod")[0]["State"]["Pid"] not in (0, before["State"]["Pid"]),
            30,
            lambda: "Docker does not start it again",
        )
        wait_until(lambda: not bookstore.unready(), 60, lambda: f"not ready: {bookstore.unready()}")
        remarks.append(load.said())
    with stage("kill -9 of the control plane: an edit takes effect again"):
        route_reviews(checkout / "mesh", {"v3": 100})
        wait_until(lambda: set(versions(load.answers[-40:])) == {"v3"}, 60, load.said)
    assert sees(bookstore, "ratings", "ratings-envoy")


def test_a_container_comes_back_with_another_address(bookstore: Project, ingress_port: int) -> None:
    parts = ("ratings", "ratings-init", "ratings-envoy")
    before = addresses(bookstore, "ratings-envoy")
    bookstore.compose("rm", "--stop", "--force", *parts)
    wait_until(lambda: not endpoints(bookstore, "ratings"), 30, lambda: now(bookstore, "ratings"))
    # Somebody else has the address meanwhile.
    named = ("--name", f"{bookstore.name}-squatter", "--network", f"{bookstore.name}_default")
    run("docker", "run", "--detach", *named, "--entrypoint", "sleep", IMAGE, "600")
    try:
        with stage("restart with a new address: found again"):
            bookstore.up()
            assert addresses(bookstore, "ratings-envoy") != before
            wait_until(
                lambda: sees(bookstore, "ratings", "ratings-envoy"), 30, lambda: now(bookstore, "ratings")
            )
            with Load(ingress_port) as load:
                wait_until(lambda: len(load.answers) > 100, 30, load.said)
    finally:
        run("docker", "rm", "--force", f"{bookstore.name}-squatter")
    assert load.failed == []


def test_a_sidecar_alone_is_started_anew(bookstore: Project, ingress_port: int) -> None:
    """Its application keeps a network namespace that is gone: said, with what helps."""
    run("docker", "kill", bookstore.container("details-envoy"))
    run("docker", "start", bookstore.container("details-envoy"))
    with stage("a sidecar started anew: said"):
        wait_until(lambda: _complaints(bookstore, "network_mode"), 30, lambda: now(bookstore, "details"))
    assert ["details" in text for text in _complaints(bookstore, "network_mode")] == [True]
    assert not endpoints(bookstore, "details")
    with stage("a sidecar started anew: its application recreated"):
        # The rules of redirection were in the namespace that is gone.
        bookstore.compose("up", "--detach", "--force-recreate", "--no-deps", "details-init", "details")
        wait_until(lambda: not ask(ingress_port).error, 30, lambda: ask(ingress_port).error)
    # By certificate, so the rules are there again.
    assert hop(ask(ingress_port), "details")["caller"].endswith("/sa/productpage")
    assert not _complaints(bookstore, "network_mode")


def _complaints(project: Project, of: str) -> list[str]:
    return [problem for problem in problems(project) if of in problem]


def test_docker_is_away_for_a_while(bookstore: Project, load: Load) -> None:
    everybody = tuple(f"reviews-v{n}-envoy" for n in (1, 2, 3))
    bookstore.compose("stop", "mini-istiod-docker")
    try:
        with stage("Docker away: said"):
            wait_until(lambda: _complaints(bookstore, "docker.sock"), 30, lambda: "no Problem")
        time.sleep(3.0)
        assert sees(bookstore, "reviews", *everybody), now(bookstore, "reviews")
    finally:
        bookstore.compose("start", "mini-istiod-docker")
    with stage("Docker back: the Problem is gone"):
        wait_until(lambda: not _complaints(bookstore, "docker.sock"), 60, lambda: now(bookstore, "reviews"))
    assert sees(bookstore, "reviews", *everybody)
