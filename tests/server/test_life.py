"""From the first second to the last: not ready, ready, asked to end, gone; and what may not begin at all."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from controlplane.envoy.types import CLUSTER, LISTENER
from controlplane.lab.client import Client, channel
from tests.support import objects as a
from tests.support.plane import client
from tests.support.process import Process, started
from tests.support.raw import raw, status
from tests.support.waiting import until

pytestmark = pytest.mark.whole


async def attempt(process: Process) -> tuple[grpc.StatusCode, str]:
    """What becomes of a stream that the control plane refuses."""
    async with raw(process.address, "DELTA_GRPC") as call:
        # Nothing is written: a refusal does not wait for it, and gRPC loses the status when both meet.
        return await status(call)


async def served(process: Process) -> Client:
    """A client that has got its clusters and left."""
    one = client("web")
    async with channel(process.address) as connection:
        stream = asyncio.create_task(one.run(connection))
        await until(lambda: stream.done() or one.state[CLUSTER], "clusters", 10)
        assert not stream.done(), stream
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
    return one


def test_nobody_is_served_before_the_sources_have_synced(tmp_path: Path) -> None:
    mesh_config = tmp_path / "mesh.yaml"
    # A source that has nothing yet: settings that cannot be read are no settings.
    mesh_config.write_text("rootNamespace: [")
    with started(tmp_path, "--mesh-config", str(mesh_config)) as process:
        process.files.put(a.service("web"))
        process.wait_listening()
        process.wait(lambda: process.get("/debug/configz").json, "the directory is read")
        ready = process.get("/ready")
        assert (ready.status, "mesh-config" in ready.text) == (503, True), ready
        code, details = asyncio.run(attempt(process))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "synced" in details, details
        assert process.get("/ready").status == 503

        mesh_config.write_text("rootNamespace: istio-system")
        process.wait(lambda: process.get("/ready").status == 200, "ready")
        found = asyncio.run(served(process))
        # The whole mesh at once, with what the slower source said.
        assert "outbound|80||web.default.svc.cluster.local" in found.state[CLUSTER]


def test_sigterm_drains_and_ends_well(tmp_path: Path) -> None:
    async def scene(process: Process) -> None:
        clients = [client(f"web-{n}", number=n + 2) for n in range(4)]
        loop = asyncio.get_running_loop()
        ended: list[float] = []

        async def stay(one: Client) -> None:
            async with channel(process.address) as connection:
                await one.run(connection)  # raises unless the stream ends with OK
            ended.append(loop.time())

        async with asyncio.TaskGroup() as streams:
            for one in clients:
                streams.create_task(stay(one))
            await until(lambda: all(one.state[LISTENER] and not one.lacks for one in clients), "everything")
            # A client that is just answering when its stream ends would take that for an error.
            await asyncio.sleep(0.2)
            process.child.send_signal(signal.SIGTERM)
            began = loop.time()
            await until(lambda: process.get("/ready").status == 503, "unready while draining")
            assert "draining" in process.get("/ready").text
        # Not all at the same time: their reconnects would be a storm.
        assert max(ended) - min(ended) > 0.2
        assert max(ended) - began < 5

    with started(tmp_path, "--drain-duration", "1s") as process:
        process.wait_ready()
        asyncio.run(scene(process))
        assert process.child.wait(10) == 0
        assert not process.socket.exists()
        levels = {record["level"] for record in process.records()}
        assert levels == {"info"}, process.log.read_text()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async def stay(process: Process, one: Client) -> None:
        async with channel(process.address) as connection:
            await one.run(connection)

    async def scene(process: Process) -> None:
        # The drain asks one of two at once, and the other after half of its minute.
        clients = [client(f"web-{n}", number=n + 2) for n in range(2)]
        streams = [asyncio.create_task(stay(process, one)) for one in clients]
        await until(lambda: all(one.state[CLUSTER] for one in clients), "clusters")
        process.child.send_signal(signal.SIGTERM)
        await until(lambda: any(stream.done() for stream in streams), "the first stream's end")
        assert process.get("/ready").status == 503
        process.child.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.child.wait, 5)
        await asyncio.gather(*streams, return_exceptions=True)

    with started(tmp_path, "--drain-duration", "1m") as process:
        process.wait_ready()
        asyncio.run(scene(process))
        assert process.child.returncode == 130


def refused(tmp_path: Path, *flags: str) -> str:
    """What a control plane says that does not even start; it ends with status 2."""
    (tmp_path / "config").mkdir(exist_ok=True)
    argv = [
        sys.executable,
        "-m",
        "controlplane",
        "discovery",
        "--config-dir",
        str(tmp_path / "config"),
        *flags,
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, cwd=root)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_plaintext_beyond_this_machine_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, "--grpc-addr", "0.0.0.0:15010")
    assert "0.0.0.0:15010" in said
    assert "--insecure-allow-remote" in said


def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused(tmp_path, "--grpc-addr", address, "--monitoring-addr", "127.0.0.1:0")
        free = f"unix:{tmp_path / 'xds.sock'}"
        assert address in refused(tmp_path, "--grpc-addr", free, "--monitoring-addr", address)
