"""A real Envoy follows two hundred random edits, and ends where one that starts afterwards begins."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.pods import Lab, Pod, PodSpec, Sidecar
from tests.support.edits import Editor
from tests.support.envoys import MARKS, contents, laboratory, normal_form, warming
from tests.support.files import MeshFiles
from tests.support.plane import Served, serving_files

pytestmark = MARKS

EDITS = 200
BURST = 4


async def settled(served: Served, pod: Pod) -> dict[str, str]:
    """The contents of an Envoy's normal form, once everything has reached it."""
    await served.quiet()
    dump = await asyncio.to_thread(normal_form, pod.admin)
    assert warming(dump) == []
    return contents(dump)


async def start(served: Served, lab: Lab, protocol: Protocol) -> Pod:
    """A pod that serves what selects it, in the middle of the edited mesh."""
    labels = {"app": "web", "version": "v1"}
    spec = PodSpec("web-1", "front", "10.244.200.2", labels=labels)
    pod = lab.start(spec, Sidecar(served.address, protocol, stats=("cluster.xds-grpc", "control_plane")))
    await asyncio.to_thread(lab.wait_ready)
    served.envoys = 1
    return pod


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
@pytest.mark.parametrize("seed", [1])
def test_random_edits(tmp_path: Path, protocol: Protocol, seed: int) -> None:
    async def scene(lab: Lab) -> None:
        files = MeshFiles(lab.directory / "config")
        editor = Editor(files, seed)
        editor.begin()
        rng = random.Random(seed)
        async with serving_files(files, lab.directory / "xds.sock") as served:
            old = await start(served, lab, protocol)
            done = 0
            while done < EDITS:
                size = min(rng.randrange(1, 2 * BURST), EDITS - done)
                for _ in range(size):
                    editor.edit()
                done += size
                editor.mend()
                await served.quiet()
                rejected = await asyncio.to_thread(old.admin.rejected)
                assert rejected == {}, "\n".join(editor.history[-size:])
            followed = await settled(served, old)
            updates = await asyncio.to_thread(old.admin.stats, "update_success")
            for kind in ("cluster_manager.cds", "listener_manager.lds", "rds"):
                count = sum(number for name, number in updates.items() if kind in name)
                assert count > 10, f"{kind}: {updates}"
            # Those of endpoints go with their clusters.
            assert any(number > 1 for name, number in updates.items() if "cluster.outbound" in name)

            served.envoys = 0
            await asyncio.to_thread(lab.delete, old)
            await served.quiet()
            fresh = await settled(served, await start(served, lab, protocol))
            assert fresh.keys() == followed.keys()
            assert {name for name in fresh if fresh[name] != followed[name]} == set()
            # It compared something: all that the mesh has, in every kind.
            for kind in ("clusters", "listeners", "route_configs", "endpoint_configs"):
                assert sum(f"dynamic_{kind}" in name or "active_clusters" in name for name in fresh) > 3

    with laboratory(tmp_path) as lab:
        asyncio.run(scene(lab))
