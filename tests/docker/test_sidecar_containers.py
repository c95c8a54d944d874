"""What a sidecar in a container relies on, beside a real Docker: its rights, its signal, DNS, the filter."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.app.commands import main
from controlplane.app.docker_proxy import DockerProxy, bound
from controlplane.base.parse import address
from controlplane.sources.docker.api import HttpDocker
from controlplane.sources.docker.container import Container, read
from controlplane.sources.docker.event import read_event
from controlplane.sources.docker.summary import summarize
from tests.support.daemon import SOCKET, Yard, call, missing

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(bool(missing()), reason=f"tests with containers: {missing()}"),
]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives files away and enters namespaces")
ENVOY = "envoyproxy/envoy:v1.40.0"
CONFINED = ("--user=1337:1337", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
START = ("envoy", "-c", "/etc/mini-istiod/envoy.json", "--concurrency", "2", "--log-level", "warning")
ANSWERS = (
    "exec 3<>/dev/tcp/127.0.0.1/15000 && printf 'GET /ready HTTP/1.1\r\nHost: x\r\n\r\n' >&3 && read -t 5 <&3"
)


def there(image: str) -> bool:
    return not missing() and bool(call("image", "ls", "-q", image))


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[str]:
    """A stock Envoy as Compose starts it, with what the provisioning job made for it; its name."""
    name = f"mi-sidecar-{os.getpid()}"
    plane = ("--xds-address", "mini-istiod:15012", "--root-file", "/etc/mini-istiod-roots/root-cert.pem")
    places = ("--data-dir", f"{tmp_path}/data", "--out", f"{tmp_path}/out", "--seen-at", "/etc/mini-istiod")
    assert main(["provision", *places, *plane, "--proxy", "web=default/web"]) == 0
    mounted = f"--volume={tmp_path}/out/web:/etc/mini-istiod:ro"
    stopping = ("--stop-signal=SIGUSR1", "--network=none", "--name", name)
    call("run", "-d", *stopping, *CONFINED, mounted, ENVOY, *START)
    try:
        yield name
    finally:
        call("rm", "-f", name)


def answers(name: str) -> bool:
    command = ["docker", "exec", name, "bash", "-c", ANSWERS]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@ROOT
@pytest.mark.skipif(not there(ENVOY), reason=f"there is no image {ENVOY}")
def test_a_stock_envoy_starts_without_rights_and_serves_on_while_it_is_stopped(envoy: str) -> None:
    end = time.monotonic() + 60
    while not answers(envoy):
        assert time.monotonic() < end, call("logs", envoy)
        time.sleep(0.1)
    # It can read its token, and nobody has told it how to write one.
    assert call("exec", envoy, "head", "-c", "3", "/etc/mini-istiod/token") == "eyJ"
    with subprocess.Popen(["docker", "stop", "-t", "3", envoy], stdout=subprocess.DEVNULL) as stop:
        # After TERM it would be gone by now, and the command over.
        time.sleep(1)
        assert stop.poll() is None
        assert answers(envoy)
        assert stop.wait(60) == 0
    # By KILL, when its time was over: it took no notice of the signal.
    assert call("inspect", "-f", "{{.State.ExitCode}}", envoy) == "137"


@ROOT
def test_redirected_dns_of_docker_answers_everybody() -> None:
    async def test() -> None:
        async with Yard(f"dns{os.getpid()}") as yard:
            network = await yard.network("default")
            one, _ = [await yard.run(name, network) for name in ("web", "api")]
            process = await yard.docker("inspect", "-f", "{{.State.Pid}}", one)
            enter = ["nsenter", f"--net=/proc/{process}/ns/net"]
            for _ in range(2):
                command = [*enter, sys.executable, "-m", "controlplane", "iptables"]
                done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
            for user in ("0:0", "1337:1337"):
                for options in ("", "use-vc"):  # by UDP and by TCP
                    how = ("exec", "-u", user, "-e", f"RES_OPTIONS={options}", one)
                    assert "api" in await yard.docker(*how, "getent", "hosts", "api")

    asyncio.run(test())


@asynccontextmanager
async def asked_through(folder: Path) -> AsyncIterator[tuple[HttpDocker, HttpDocker]]:
    """Docker itself, and Docker through the filter."""
    listen = folder / "filtered"
    async with DockerProxy(address(f"unix:{SOCKET}")).serving(bound(listen)):
        both = HttpDocker(address(f"unix:{SOCKET}")), HttpDocker(address(f"unix:{listen}"))
        try:
            for one in both:
                await one.ping()
            yield both
        finally:
            for one in both:
                await one.close()


def test_through_the_filter_a_container_is_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        async with Yard(f"filter{os.getpid()}") as yard, asked_through(tmp_path) as (docker, filtered):
            since = time.time() - 1
            name = await yard.run("web", await yard.network("default"), "--env=PASSWORD=hunter2")
            direct, through = await docker.inspect(name), await filtered.inspect(name)
            assert direct is not None and through is not None
            assert "hunter2" in str(direct) and "hunter2" not in str(through)
            found = read(through)
            assert isinstance(found, Container) and found == read(direct)
            listed = {one.id: one for one in map(summarize, await filtered.containers()) if one}
            assert listed[found.id].shows(found)
            assert await filtered.inspect("nobody") is None
            seen = []
            async for events in filtered.events(since, time.time() + 0.5):
                seen += [one for one in map(read_event, events) if one and one.container == found.id]
            assert [one.action for one in seen if one.action in ("create", "start")] == ["create", "start"]

    asyncio.run(test())
