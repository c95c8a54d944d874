"""Ten megabytes of clusters arrive at a real Envoy in one response."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.pods import PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory
from tests.support.files import MeshFiles
from tests.support.process import Process, started

pytestmark = MARKS

TEN_MEGABYTES = 10_000_000
SERVICES = 250
NAMES = 650
"""Names that a server's certificate may bear, for each service: many bytes of few clusters."""


def largest(process: Process, kind: str) -> bool:
    """Whether a response of this type had more than ten megabytes."""
    text = process.get("/metrics").text
    pattern = r'^pilot_xds_config_size_bytes_bucket\{le="(\S+)",type="%s"\} (\S+)$'
    counts = {float(le): float(count) for le, count in re.findall(pattern % kind, text, re.MULTILINE)}
    return counts[float("inf")] > counts[TEN_MEGABYTES]


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_ten_megabytes(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        files = MeshFiles(lab.directory / "config")
        names = [f"spiffe://cluster.local/ns/{'n' * 30}/sa/account-{number}" for number in range(NAMES)]
        for number in range(SERVICES):
            files.put(a.service(f"s{number}", number=number + 10))
            spec = {
                "host": f"s{number}.default.svc.cluster.local",
                "trafficPolicy": {"tls": {"mode": "SIMPLE", "subjectAltNames": names}},
            }
            files.put(a.thing("DestinationRule", f"s{number}", "default", {"spec": spec}))
        with started(lab.directory) as process:
            process.wait_ready()
            spec = PodSpec("web-1", "default", "10.244.0.2", labels={"app": "web"})
            pod = lab.start(spec, Sidecar(process.address, protocol))
            lab.wait_ready(60)
            assert largest(process, "cds")
            active = pod.admin.stats("cluster_manager.active_clusters")
            assert active["cluster_manager.active_clusters"] > SERVICES
            # The stream lives on: the next change comes over it.
            process.files.put(a.service("later", number=400))
            assert wait_until(lambda: pod.admin.stats("cluster_manager.active_clusters") != active, 20), (
                "nothing comes after that"
            )
            assert pod.admin.rejected() == {}
            assert len(process.get("/debug/syncz").json) == 1
            assert pod.admin.stats("cluster.xds-grpc.*upstream_cx_total").popitem()[1] == 1
