"""What all tests begin with, and what a run says at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.lab.containers import docker_socket
from controlplane.lab.programs import ProgramFailed, run
from e2e.compose.daemon import answering
from e2e.compose.project import IMAGE, copy_of_the_checkout
from e2e.compose.stages import lines

# A second run beside this one has other names.
PREFIX = f"e2e-{os.getpid()}"


@pytest.fixture(scope="session")
def docker() -> str:
    """The version of the daemon.  Without it, or without the images, the tests skip and say what to do."""
    version = answering()
    if not version:
        pytest.skip("no Docker daemon answers; `make e2e-compose` starts one")
    try:
        run("docker", "image", "inspect", IMAGE)
    except ProgramFailed:
        pytest.skip(f"there is no image {IMAGE}; `make e2e-compose` builds it")
    return version


@pytest.fixture(scope="session")
def environment(docker: str) -> dict[str, str]:
    """Variables of compose files that hold on this machine."""
    return docker_socket(os.environ)


@pytest.fixture(scope="session")
def checkout(docker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, to be edited at will."""
    return copy_of_the_checkout(tmp_path_factory.mktemp("copy") / "mini-istiod")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The time of each stage, and what was measured."""
    if table := lines():
        terminalreporter.section("times and sizes")
        for line in table:
            terminalreporter.line(line)
