"""The health check of an Envoy's container ends a sidecar whose program is not redirected, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.app.commands import main
from tests.support.daemon import call, missing

ENVOY, PYTHON = "envoyproxy/envoy:v1.40.0", "python:3.11-slim"


def lacking() -> str:
    """Why these tests cannot run here, "" when they can."""
    if missing():
        return missing()
    if os.geteuid() != 0:
        return "gives files away and enters namespaces, which takes root"
    return next(
        (f"there is no image {one}" for one in (ENVOY, PYTHON) if not call("image", "ls", "-q", one)), ""
    )


pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(bool(lacking()), reason=f"tests with containers: {lacking()}"),
]
CONFINED = ("--user=1337:1337", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
START = ("envoy", "-c", "/etc/mini-istiod/envoy.json", "--concurrency", "1", "--log-level", "warning")
LOOKS = 5


class Sidecar:
    """An Envoy that has no control plane, so that it never gets its configuration."""

    def __init__(self, name: str) -> None:
        self.name = name

    def looks(self, times: int = LOOKS) -> list[int]:
        """The exit status of its health check, several times."""
        check = ["docker", "exec", self.name, "bash", "/etc/mini-istiod/healthy.sh"]
        done = [subprocess.run(check, capture_output=True, timeout=60, check=False) for _ in range(times)]
        return [one.returncode for one in done]

    def noted(self) -> set[str]:
        """What the check keeps from one look to the next."""
        return set(call("exec", self.name, "ls", "/dev/shm").split()) & {"bypassed", "ready"}

    @property
    def runs(self) -> bool:
        return call("inspect", "-f", "{{.State.Running}}", self.name) == "true"

    def redirected(self) -> None:
        """Rules are written in its namespace, as its init container does it."""
        process = call("inspect", "-f", "{{.State.Pid}}", self.name)
        enter = ["nsenter", f"--net=/proc/{process}/ns/net"]
        subprocess.run([*enter, sys.executable, "-m", "controlplane", "iptables"], check=True, timeout=60)

    @contextmanager
    def program(self, address: str = "0.0.0.0") -> Iterator[None]:
        """A program that listens in its network."""
        with self.running("app", f"s = socket.create_server(('{address}', 9080))"):
            yield

    @contextmanager
    def running(self, name: str, code: str, user: str = "0:0") -> Iterator[None]:
        """A program in its network, in Python."""
        code = f"import socket, time\n{code}\nprint('on')\ntime.sleep(600)"
        name = f"{self.name}-{name}"
        join = ("--network", f"container:{self.name}", "--user", user)
        call("run", "-d", *join, "--name", name, PYTHON, "python3", "-uc", code)
        try:
            until(lambda: call("logs", name) == "on")
            yield
        finally:
            call("rm", "-f", name)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def started(tmp_path: Path, proxy: str, network: str = "none") -> Iterator[Sidecar]:
    plane = ("--xds-address", "127.0.0.1:1", "--root-file", "/etc/mini-istiod-roots/root-cert.pem")
    places = ("--data-dir", f"{tmp_path}/data", "--out", f"{tmp_path}/out", "--seen-at", "/etc/mini-istiod")
    assert main(["provision", *places, *plane, "--proxy", proxy]) == 0
    name = f"mi-health-{os.getpid()}"
    mounted = f"--volume={tmp_path}/out/web:/etc/mini-istiod:ro"
    try:
        call("run", "-d", "--network", network, "--name", name, *CONFINED, mounted, ENVOY, *START)
        # Its admin interface is there, and its signals are handled.
        until(lambda: "3A98" in call("exec", name, "cat", "/proc/net/tcp"))
        yield Sidecar(name)
    finally:
        call("rm", "-f", name)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    with started(tmp_path, "web=default/web") as found:
        yield found


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.3"])
def test_a_program_without_redirection_loses_its_sidecar_unless_it_listens_on_the_loopback(
    sidecar: Sidecar, address: str
) -> None:
    with sidecar.program(address):
        assert 0 not in sidecar.looks()
        if address != "0.0.0.0":
            assert sidecar.runs
            return
        until(lambda: not sidecar.runs)
        logged = subprocess.run(["docker", "logs", sidecar.name], capture_output=True, text=True, check=True)
        assert "mini-istiod: a program listens in this network" in logged.stdout + logged.stderr


def test_an_envoy_that_is_slow_and_redirected_is_left_alone(sidecar: Sidecar) -> None:
    sidecar.redirected()
    with sidecar.program():
        assert sidecar.looks() == [1] * LOOKS
        assert sidecar.noted() == set()
        assert sidecar.runs


def test_one_whose_program_is_not_there_yet_is_left_alone(sidecar: Sidecar) -> None:
    assert sidecar.looks() == [1] * LOOKS
    assert sidecar.runs


READY = """
import threading
held = []
def serve():
    with socket.create_server(("0.0.0.0", 15021)) as server:
        while True:
            held.append(server.accept()[0])
            held[-1].sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
threading.Thread(target=serve, daemon=True).start()
time.sleep(0.2)
"""


@pytest.fixture
def network() -> Iterator[str]:
    name = f"mi-health-{os.getpid()}"
    call("network", "create", name)
    try:
        yield name
    finally:
        call("network", "rm", name)


@pytest.mark.parametrize("far", [True, False])
def test_a_program_that_only_calls_others_is_noticed_when_envoy_is_configured(
    tmp_path: Path, network: str, far: bool
) -> None:
    with started(tmp_path, "web=default/web", network) as sidecar:
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = call("inspect", "-f", where, sidecar.name)
        connect = f"s = socket.create_connection(('{address if far else '127.0.0.1'}', 15021))"
        # The first answers as an Envoy that has its configuration, which this one never gets.
        with sidecar.running("ready", READY, "1337:1337"), sidecar.running("app", connect):
            assert 0 not in sidecar.looks()
            if not far:
                assert sidecar.runs
                return
            until(lambda: not sidecar.runs)
            done = subprocess.run(
                ["docker", "logs", sidecar.name], capture_output=True, text=True, check=True
            )
            assert "mini-istiod: a program has connections" in done.stdout + done.stderr


def test_one_that_was_ready_once_is_never_ended(sidecar: Sidecar) -> None:
    call("exec", sidecar.name, "touch", "/dev/shm/ready")
    with sidecar.program():
        assert sidecar.looks(1) == [1]
        assert sidecar.noted() == {"ready"}
        assert sidecar.runs


def test_a_gateway_needs_no_redirection(tmp_path: Path) -> None:
    with started(tmp_path, "web=default/web,router") as gateway, gateway.program():
        assert gateway.looks() == [1] * LOOKS
        assert gateway.runs
