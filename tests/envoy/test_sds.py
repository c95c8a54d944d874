"""Certificates at real Envoys: they change under traffic, and nobody who calls notices.

Every request is a handshake of its own between two stock Envoys, STRICT, without a retry.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.envoy.types import SECRET
from controlplane.lab.client import Protocol
from controlplane.lab.fetch import fetch
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pods import Lab, Sidecar
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from controlplane.xds.stream import Stream
from tests.support.envoys import MARKS, laboratory
from tests.support.mutual import (
    OBJECTS,
    STATS,
    Pair,
    calling,
    leaves_under_traffic,
    served_pair,
    undisturbed,
    with_sidecars,
)
from tests.support.plane import Served
from tests.support.waiting import until

pytestmark = MARKS

ROTATIONS = 10


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_leaves_change_under_traffic(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        asyncio.run(leaves_under_traffic(lab, ROTATIONS, protocol))


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_what_uses_secrets_changes_without_them_being_sent_again(tmp_path: Path, protocol: Protocol) -> None:
    async def scene(lab: Lab) -> None:
        async with served_pair(lab, protocol) as (served, pair):
            took = [await changed(served, pair, *edit) for edit in (("PERMISSIVE", 2), ("STRICT", 3))]
            print(f"from the edit to the last ACK: {', '.join(f'{1e3 * one:.0f} ms' for one in took)}")

    async def changed(served: Served, pair: Pair, mode: str, requests: int) -> float:
        """Change the client's cluster and the server's listener; the seconds until both have said yes."""
        before = [pair.stat(pod, "^sds.*update_success$") for pod in pair.pods]
        streams = served.app.xds.streams
        seen = {stream: _acked(stream) for stream in streams}
        text = OBJECTS.replace("mode: STRICT", f"mode: {mode}")
        text = text.replace("maxRequestsPerConnection: 1", f"maxRequestsPerConnection: {requests}")
        started = asyncio.get_running_loop().time()
        served.files.text("mesh.yaml", text)
        await until(lambda: all(_acked(one) != seen[one] for one in streams), "changes are sent")
        await until(lambda: not any(map(_busy, streams)), "they are acknowledged")
        took = asyncio.get_running_loop().time() - started
        assert [pair.stat(pod, "^sds.*update_success$") for pod in pair.pods] == before
        for pod in pair.pods:
            warming = pod.admin.stats("(warming_clusters|total_listeners_warming)$")
            assert len(warming) == 2 and not any(warming.values())
        return took

    with laboratory(tmp_path) as lab:
        asyncio.run(scene(lab))


def _acked(stream: Stream) -> dict[str, str]:
    return {url: sub.acked for url, sub in stream.session.subscriptions.items() if url != SECRET}


def _busy(stream: Stream) -> bool:
    return any(sub.pending or sub.changed for sub in stream.session.subscriptions.values())


class Mesh:
    """A control plane that is reached by TLS with tokens, as in a cluster, and the two pods."""

    def __init__(self, lab: Lab, *flags: str) -> None:
        self.lab, self._flags, self._house = lab, flags, lab.house()
        self.plane: Plane = self._start()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        self.pair: Pair = with_sidecars(lab, Sidecar(self.plane.secure, "DELTA_GRPC", STATS, kubelet))

    def _start(self) -> Plane:
        plane = start_plane(self.lab.site, self._flags, self._house)
        (plane.config / "mesh.yaml").write_text(OBJECTS)
        plane.wait_ready()
        return plane

    def restart(self) -> None:
        """Kill the control plane, and start it anew on what it keeps."""
        self.plane.process.kill()
        self.plane.process.wait(20)
        self.plane.socket.unlink(missing_ok=True)
        self.plane = self._start()

    def connected(self) -> bool:
        """Whether both proxies have a stream."""
        return len(self.plane.get("/debug/connections")["clients"]) == 2

    def leaves(self) -> set[str]:
        """The serial numbers of both proxies' certificates."""
        return set().union(*map(self.pair.serials, self.pair.pods))

    def rotate(self) -> list[str]:
        """Change the root; the stages that it went through, when it is over."""
        path = "/debug/ca?do=rotate"
        stages = [fetch(self.plane.monitoring, path, method="POST").json()["stage"]]
        while stages[-1] != "idle":
            stage = self.plane.get("/debug/ca")["stage"]
            if stage != stages[-1]:
                stages.append(stage)
        return stages


def test_a_control_plane_that_comes_back_gives_new_leaves_of_the_same_root(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab:
        mesh = Mesh(lab)
        pair = mesh.pair
        drained, roots, leaves = pair.drained(), pair.roots(pair.client), mesh.leaves()
        assert len(leaves) == 2
        with calling(lab, pair) as calls:
            assert wait_until(lambda: len(calls.answers) > 50, 20.0)
            mesh.restart()
            assert wait_until(mesh.connected, 30.0)
            assert wait_until(lambda: not leaves & mesh.leaves(), 20.0)
            seen = len(calls.answers)
            assert wait_until(lambda: len(calls.answers) > seen + 50, 20.0)
        undisturbed(pair, calls, drained)
        assert len(mesh.leaves()) == 2
        assert pair.roots(pair.client) == pair.roots(pair.server) == roots
        print(f"a restart in {calls.seconds:.1f} s: {len(calls.answers)} requests, {calls.rate:.0f}/s")


def test_the_root_changes_under_traffic_and_all_stay_connected(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab:
        mesh = Mesh(lab, "--root-rotation-pause", "2s")
        pair = mesh.pair
        drained, old, leaves = pair.drained(), pair.roots(pair.client), mesh.leaves()
        streams = mesh.plane.get("/debug/connections")["clients"]
        with calling(lab, pair) as calls:
            assert wait_until(lambda: len(calls.answers) > 50, 20.0)
            assert mesh.rotate() == ["trust", "sign", "drop", "idle"]
            seen = len(calls.answers)
            assert wait_until(lambda: len(calls.answers) > seen + 50, 20.0)
        undisturbed(pair, calls, drained)
        assert not leaves & mesh.leaves()
        new = pair.roots(pair.client)
        assert pair.roots(pair.server) == new and len(new) == 1 and not new & old
        # The same streams as before; and new ones, to a control plane that shows the new root only.
        assert mesh.plane.get("/debug/connections")["clients"] == streams
        mesh.restart()
        assert wait_until(mesh.connected, 30.0)
        print(
            f"one root rotation in {calls.seconds:.1f} s: {len(calls.answers)} requests, {calls.rate:.0f}/s"
        )
