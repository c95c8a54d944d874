"""What only time shows, on real Envoys: an idle stream stays, and a server that vanished is missed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.pods import Lab, Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory
from tests.support.process import Process, started

pytestmark = [pytest.mark.slow, *MARKS]

IDLE = 300.0
NOTICED = 45.0
BOTH: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[Process, list[Pod]]]:
    """A control plane, and an Envoy for each variant."""
    with started(lab.directory) as process:
        process.files.put(a.service("web"))
        process.wait_ready()
        pods = []
        for number, protocol in enumerate(BOTH):
            spec = PodSpec(f"web-{number}", "default", f"10.244.0.{number + 2}", labels={"app": "web"})
            pods.append(lab.start(spec, Sidecar(process.address, protocol, stats=("control_plane",))))
        lab.wait_ready()
        process.wait(lambda: len(process.get("/debug/syncz").json) == len(BOTH), "both connected")
        yield process, pods


def stat(pod: Pod, name: str) -> int:
    """A statistic of the connection to the control plane."""
    (count,) = pod.admin.stats(f"^cluster.xds-grpc.*{name}$").values()
    return count


def connections(process: Process) -> set[str]:
    return {one["connection"] for one in process.get("/debug/syncz").json}


def check_that_an_edit_arrives(process: Process, pods: list[Pod], name: str, seconds: float) -> None:
    process.files.put(a.service(name, number=50))
    cluster = f"outbound|80||{name}.default.svc.cluster.local"

    def arrived() -> bool:
        return all(cluster in str(pod.admin.config_dump("resource=dynamic_active_clusters")) for pod in pods)

    assert wait_until(arrived, seconds), f"{name} does not arrive"


def test_an_idle_stream_lives_five_minutes(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab, connected(lab) as (process, pods):
        before = connections(process)
        # Nothing moves but Envoy's pings.  A watched clock: the end of a stream ends the wait.
        assert not wait_until(lambda: time.sleep(1) or connections(process) != before, IDLE)
        for pod in pods:
            assert stat(pod, "upstream_cx_total") == 1
            assert stat(pod, "http2.keepalive_timeout") == 0
        check_that_an_edit_arrives(process, pods, "awake", 5)


def test_a_server_that_vanished_silently_is_noticed(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab, connected(lab) as (process, pods):
        # It answers nothing any more, and nobody closes its connections.
        process.child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            timeouts = [lambda pod=pod: stat(pod, "http2.keepalive_timeout") > 0 for pod in pods]
            assert wait_until(lambda: all(noticed() for noticed in timeouts), NOTICED)
            print(f"noticed after {time.monotonic() - began:.0f} s")
            # Not by chance: the pings come every 30 s, and their answers are awaited for 10 s.
            assert time.monotonic() - began > 9
        finally:
            process.child.send_signal(signal.SIGCONT)
        # Envoy waits up to 30 s before it tries again.
        check_that_an_edit_arrives(process, pods, "back", 60)
