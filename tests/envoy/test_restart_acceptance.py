"""The control plane is killed and comes back while requests flow through real sidecars: none of them fails.

What was edited meanwhile is all that a delta Envoy is sent of clusters and listeners.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.lab import traffic
from controlplane.lab.client import Protocol
from controlplane.lab.fabric import service_address
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.shop import SAMPLE
from controlplane.lab.waiting import wait_until
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory
from tests.support.files import MeshFiles
from tests.support.process import Process, started

pytestmark = MARKS

OTHERS = 60
"""Services beside the one that is called: what a full answer would hold."""
STATS = ("control_plane", "cluster_manager", "listener_manager")


class Traffic:
    """What callers in a pod saw so far; lists are appended to by a thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.answers: list[dict[str, Any]] = []
        self._process = process
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def failures(self) -> dict[int, dict[str, Any]]:
        """What was not answered with 200, by the number of the request."""
        return {number: one for number, one in enumerate(self.answers) if one["status"] != 200}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("}\n"):  # the last one may be cut off
                self.answers.append(json.loads(line))


@contextmanager
def calling(lab: Lab, client: Pod, door: Target) -> Iterator[Traffic]:
    """Four callers on kept-alive connections, without a pause longer than 5 ms, until the block ends."""
    order = {
        "host": door.host,
        "port": door.port,
        "path": "/",
        "authority": "called",
        "headers": {},
        "requests": 10**9,
        "workers": 4,
        "pause": 0.005,
        "timeout": 5.0,
    }
    found = Traffic(lab.run_in(client, App(Path(traffic.__file__), (json.dumps(order),))))
    try:
        yield found
    finally:
        found.stop()


def sent(process: Process) -> dict[str, float]:
    """Bytes of all responses so far, by type."""
    text = process.get("/metrics").text
    pattern = r'^pilot_xds_config_size_bytes_sum\{type="(\w+)"\} (\S+)$'
    return {kind: float(number) for kind, number in re.findall(pattern, text, re.MULTILINE)}


def in_sync(process: Process, streams: int) -> bool:
    found = process.get("/debug/syncz").json
    columns = ("cluster", "listener", "route", "endpoint")
    return len(found) == streams and all(
        one[f"{column}_sent"] and one[f"{column}_sent"] == one[f"{column}_acked"]
        for one in found
        for column in columns
    )


def changes(pod: Pod) -> dict[str, int]:
    """How often clusters and listeners were added, modified and removed, in this Envoy's life."""
    found = pod.admin.stats("(cluster|listener)_manager.(cluster|listener)_(added|modified|removed)")
    return {name.rpartition(".")[2]: count for name, count in found.items()}


def mesh(files: MeshFiles, pods: list[PodSpec]) -> None:
    called = a.service("called", ports="http=80:9080", number=10)
    called["spec"]["clusterIP"] = service_address(0)
    files.write("called.yaml", called, a.endpoints("called", [pods[0].ip], ports="http=9080"))
    for number in range(OTHERS):
        files.put(a.service(f"s{number}", ports="http=80, tcp=9000", number=number + 100))


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_requests_survive_a_killed_control_plane(tmp_path: Path, protocol: Protocol) -> None:
    app = App(SAMPLE / "server.py", ("details", "v1", "9080"), port=9080)
    specs = [
        PodSpec("called", "default", "10.244.0.2", labels={"app": "called"}, app=app),
        PodSpec("caller", "default", "10.244.0.3", labels={"app": "caller"}),
    ]
    with laboratory(tmp_path) as lab:
        mesh(MeshFiles(lab.directory / "config"), specs)
        with started(lab.directory) as first:
            first.wait_ready()
            pods = [lab.start(spec, Sidecar(first.address, protocol, stats=STATS)) for spec in specs]
            lab.wait_ready()
            first.wait(lambda: in_sync(first, 2), "both in sync")
            whole = sent(first)
            # Each Envoy has 60 clusters with two ports and a listener for each TCP port.
            assert whole["cds"] > 2 * 2 * OTHERS * 200
            door = Target(pods[1].netns, service_address(0), 80)
            with calling(lab, pods[1], door) as traffic:
                assert wait_until(lambda: len(traffic.answers) > 100, 40)
                before = [changes(pod) for pod in pods]
                stages = [len(traffic.answers)]
                first.end(signal.SIGKILL)
                # Nobody is there while this is edited.
                first.files.put(a.service("new", number=500))
                first.files.delete(a.service("s0"))
                at_least = len(traffic.answers) + 200
                assert wait_until(lambda: len(traffic.answers) > at_least, 20)
                assert not any(pod.admin.stats("control_plane.connected_state").popitem()[1] for pod in pods)

                with started(lab.directory) as second:
                    stages.append(len(traffic.answers))
                    second.wait_ready()
                    second.wait(lambda: in_sync(second, 2), "both in sync again", 60)
                    stages.append(len(traffic.answers))
                    resumed = sent(second)
                    check_effect(second, door)
                    at_least = len(traffic.answers) + 100
                    assert wait_until(lambda: len(traffic.answers) > at_least, 40)
                    after = [changes(pod) for pod in pods]
                    rejected = [pod.admin.rejected() for pod in pods]
            told = f"{len(traffic.answers)} requests; bytes at first {whole}, after the restart {resumed}"
            print(f"{protocol}: {told}")
            assert traffic.failures() == {}, f"{told}; counts of requests at each stage: {stages}"
            assert rejected == [{}, {}]
            for old, new in zip(before, after, strict=True):
                grown = {name: new[name] - old[name] for name in new if new[name] != old[name]}
                # s0 had two clusters and one listener; "new" has one cluster on a port that exists.
                assert grown == {"cluster_added": 1, "cluster_removed": 2, "listener_removed": 1}
            if protocol == "DELTA_GRPC":
                # One new cluster and three removals for each of two Envoys.
                assert resumed["cds"] < whole["cds"] / 50, told
                assert resumed["lds"] < whole["lds"] / 50, told


def check_effect(process: Process, door: Target) -> None:
    """An edit after the restart reaches requests."""
    teapot = a.thing(
        "VirtualService",
        "teapot",
        "default",
        {
            "spec": {
                "hosts": ["called"],
                "http": [
                    {
                        "match": [{"uri": {"prefix": "/teapot"}}],
                        "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}},
                        "route": [{"destination": {"host": "called"}}],
                    },
                    {"route": [{"destination": {"host": "called"}}]},
                ],
            }
        },
    )
    process.files.put(teapot)
    headers = {"Host": "called"}
    assert wait_until(lambda: fetch(door, "/teapot", headers=headers).status == 418, 40)
