"""A real Envoy behind a faulty relay: when the faults stop, it is where one that starts then begins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.faults import Faults
from controlplane.lab.pods import Lab, Pod, PodSpec, Sidecar
from controlplane.lab.relay import Relay
from tests.support.edits import Editor
from tests.support.envoys import MARKS, contents, laboratory, normal_form, warming
from tests.support.files import MeshFiles
from tests.support.plane import serving_files

pytestmark = MARKS

EDITS = 60
FAULTS = Faults(
    3, delay=0.3, drop=0.04, drop_request=0.02, reorder=0.04, nack=0.04, slow_ack=0.3, cut=0.02, longest=0.05
)
LABELS = {"app": "web", "version": "v1"}
# Longer than Envoy waits for endpoints that were lost (15 s).
PATIENCE = 40.0


async def start(lab: Lab, address: str, name: str, ip: str, protocol: Protocol) -> Pod:
    spec = PodSpec(name, "front", ip, labels=LABELS)
    pod = lab.start(spec, Sidecar(address, protocol, stats=("control_plane",)))
    await asyncio.to_thread(lab.wait_ready, 40.0)
    return pod


def state(pod: Pod) -> dict[str, str]:
    """What it runs with, but for the address at which it finds the control plane."""
    dump = normal_form(pod.admin)
    if found := warming(dump):
        return {"warming": str(found)}
    return {name: text for name, text in contents(dump).items() if not name.endswith("/xds-grpc")}


def difference(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_an_envoy_recovers(tmp_path: Path, protocol: Protocol) -> None:
    async def scene(lab: Lab) -> None:
        files = MeshFiles(lab.directory / "config")
        editor = Editor(files, 7)
        editor.begin()
        async with serving_files(files, lab.directory / "xds.sock") as served:
            relay = Relay(served.address, FAULTS, notice=0.3)
            suffering = await start(
                lab,
                await relay.start(f"unix:{lab.directory / 'relay.sock'}"),
                "web-1",
                "10.244.200.2",
                protocol,
            )
            for _ in range(EDITS):
                editor.edit()
                await asyncio.sleep(0.1)
            editor.mend()
            relay.calm()
            await served.taken_in()
            fresh = await start(lab, served.address, "web-2", "10.244.200.3", protocol)
            await recovered(suffering, fresh)
            counts = relay.counts
            assert counts["streams"] > 3, counts
            assert min(counts["drop"], counts["wait"]) > 2, counts
            await relay.stop()

    with laboratory(tmp_path) as lab:
        asyncio.run(scene(lab))


async def recovered(suffering: Pod, fresh: Pod) -> None:
    """Return once both Envoys run with the same."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        found: list[dict[str, Any]] = [await asyncio.to_thread(state, pod) for pod in (suffering, fresh)]
        different = difference(*found)
        if not different:
            # It compared something.
            assert sum("active_clusters" in name for name in found[0]) > 3
            return
        assert asyncio.get_running_loop().time() < deadline, different
        await asyncio.sleep(0.2)
