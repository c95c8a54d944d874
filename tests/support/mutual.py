"""Two workloads whose proxies make a handshake for every request, and somebody who keeps calling.

Whatever goes wrong with certificates is seen at once: each request needs two proxies that believe each
other at that moment.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.lab import traffic
from controlplane.lab.client import Protocol
from controlplane.lab.fetch import fetch
from controlplane.lab.pods import App, Lab, Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support.files import MeshFiles
from tests.support.plane import Served, serving_files
from tests.support.waiting import until

HTTPBIN = Path(__file__).parent / "httpbin.py"
WORKERS = 7
PORT, VIP, SERVER, CLIENT = 8000, "10.96.0.1", "10.244.0.11", "10.244.0.21"
STATS = (
    *("listener", "cluster_manager", "cluster.outbound", "cluster.xds-grpc"),
    *("control_plane", "http.inbound", "ssl", "sds"),
)

OBJECTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: httpbin, namespace: foo}}
spec: {{clusterIP: {VIP}, selector: {{app: httpbin}}, ports: [{{name: http, port: {PORT}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: httpbin-1, namespace: foo, labels: {{app: httpbin, security.istio.io/tlsMode: istio}}}}
spec: {{serviceAccountName: httpbin}}
status: {{podIP: {SERVER}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: httpbin, namespace: foo}}
spec:
  host: httpbin.foo.svc.cluster.local
  trafficPolicy: {{connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: httpbin, namespace: foo}}
spec:
  hosts: [httpbin.foo.svc.cluster.local]
  http: [{{retries: {{attempts: 0}}, route: [{{destination: {{host: httpbin.foo.svc.cluster.local}}}}]}}]
"""
"""STRICT, a connection for each request, and no second try."""


@dataclass
class Pair:
    """The two pods.  `with_sidecars` starts them."""

    client: Pod
    server: Pod

    @property
    def pods(self) -> tuple[Pod, Pod]:
        return self.client, self.server

    def stat(self, pod: Pod, pattern: str) -> int:
        """The sum of the statistics that the expression finds."""
        return sum(pod.admin.stats(pattern).values())

    def handshakes(self) -> int:
        """That the server's proxy has made."""
        return self.stat(self.server, r"^listener\..*15006\.ssl\.handshake$")

    def drained(self) -> int:
        """Listeners and connections that were drained, at either end."""
        pattern = r"(total_filter_chains_draining|total_listeners_draining|cx_drain_close|listener_modified)$"
        return sum(self.stat(pod, pattern) for pod in self.pods)

    def failures(self) -> dict[str, int]:
        """Every statistic that says that a handshake or a request failed; empty when all is well."""
        pattern = (
            r"(ssl\.fail_|ssl\.connection_error|upstream_rq_retry$|upstream_cx_connect_fail"
            r"|upstream_rq_rx_reset|upstream_rq_tx_reset|downstream_rq_5xx|key_rotation_failed)"
        )
        found = {}
        for pod in self.pods:
            stats = pod.admin.stats(pattern)
            found.update(
                {
                    f"{pod.spec.name}: {name}": value
                    for name, value in stats.items()
                    # A control plane that is away is no failure of a handshake.
                    if value and ".admin." not in name and name != "cluster.xds-grpc.upstream_cx_connect_fail"
                }
            )
        return found

    def serials(self, pod: Pod) -> set[str]:
        """Of its own certificates."""
        return {
            one["serial_number"] for entry in _certs(pod) for one in entry["cert_chain"] if _is_workload(one)
        }

    def roots(self, pod: Pod) -> set[str]:
        """The serial numbers of the roots by which it judges others."""
        return {one["serial_number"] for entry in _certs(pod) for one in entry["ca_cert"]}


def _certs(pod: Pod) -> list[dict[str, Any]]:
    found = fetch(pod.admin.target, "/certs").json()["certificates"]
    return [{"ca_cert": [], "cert_chain": [], **entry} for entry in found]


def _is_workload(certificate: dict[str, Any]) -> bool:
    return any("uri" in name for name in certificate.get("subject_alt_names", ()))


def with_sidecars(lab: Lab, sidecar: Sidecar) -> Pair:
    """Start both pods and wait until a request gets through."""
    app = App(HTTPBIN, (str(PORT),), port=PORT)
    server = lab.start(PodSpec("httpbin-1", "foo", SERVER, {"app": "httpbin"}, "httpbin", app=app), sidecar)
    client = lab.start(PodSpec("sleep-1", "foo", CLIENT, {"app": "sleep"}, "sleep"), sidecar)
    lab.wait_ready()
    pair = Pair(client, server)
    with calling(lab, pair) as calls:
        assert wait_until(lambda: 200 in [one["status"] for one in calls.answers[-1:]], 20.0)
    told = calls.answers[-1]["body"]["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://cluster.local/ns/foo/sa/sleep" in told
    return pair


@dataclass
class Calls:
    """What the callers saw so far."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [one for one in self.answers if one["status"] != 200]

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return len(self.answers) / self.seconds


@contextmanager
def calling(lab: Lab, pair: Pair, workers: int = WORKERS, pause: float = 0.02) -> Iterator[Calls]:
    """Callers in the client's pod, more than two hundred requests in a second, until the block is left."""
    order = {
        "host": VIP,
        "port": PORT,
        "path": "/",
        "authority": f"httpbin.foo:{PORT}",
        "headers": {},
        "requests": 10**9,
        "workers": workers,
        "pause": pause,
        "timeout": 20.0,
    }
    process = lab.run_in(pair.client, App(Path(traffic.__file__), (json.dumps(order),)))
    calls = Calls()
    reader = threading.Thread(target=_read, args=(process, calls))
    started = time.monotonic()
    reader.start()
    try:
        yield calls
    finally:
        process.terminate()
        process.wait()
        reader.join()
        calls.seconds = time.monotonic() - started


def _read(process: subprocess.Popen[str], calls: Calls) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("}\n"):  # the last one may be cut off
            calls.answers.append(json.loads(line))


def undisturbed(pair: Pair, calls: Calls, drained: int) -> None:
    """Nobody noticed: no request failed, no handshake, and nothing was drained beyond `drained` before."""
    assert calls.failed == []
    assert pair.failures() == {}
    assert pair.drained() == drained


async def _rotate(served: Served, pair: Pair, pause: float) -> None:
    """Give both a new certificate, and wait until both have taken it into use."""
    supply = served.app.trust.certificates
    assert supply is not None
    before = [await asyncio.to_thread(pair.serials, pod) for pod in pair.pods]
    supply.reissue_all()
    for pod, old in zip(pair.pods, before, strict=True):
        deadline = time.monotonic() + 60.0
        while await asyncio.to_thread(pair.serials, pod) == old:
            assert time.monotonic() < deadline, f"{pod.spec.name} has its old certificate still"
    await asyncio.sleep(pause)


@asynccontextmanager
async def served_pair(lab: Lab, protocol: Protocol, *flags: str) -> AsyncIterator[tuple[Served, Pair]]:
    """A control plane in this process that believes local nodes, and the two pods."""
    files = MeshFiles(lab.directory / "config")
    files.text("mesh.yaml", OBJECTS)
    socket = lab.directory / "xds.sock"
    async with serving_files(files, socket, "--trust-loopback-identities", *flags) as served:
        socket.chmod(0o666)
        yield served, await asyncio.to_thread(with_sidecars, lab, Sidecar(served.address, protocol, STATS))


async def leaves_under_traffic(lab: Lab, rotations: int, protocol: Protocol, pause: float = 0.1) -> None:
    """Callers call while the leaves of both proxies change so many times; fails if anybody notices."""
    async with served_pair(lab, protocol) as (served, pair):
        made, drained = pair.handshakes(), pair.drained()
        changes = [pair.stat(pod, "^sds.default.update_success$") for pod in pair.pods]
        with calling(lab, pair) as calls:
            await until(lambda: len(calls.answers) > 50, "requests flow")
            for _ in range(rotations):
                await _rotate(served, pair, pause)
        undisturbed(pair, calls, drained)
        handshakes = pair.handshakes() - made
        # Callers that were cut off before may have left a connection each, on which nothing was sent.
        assert handshakes >= len(calls.answers) - WORKERS
        for pod, before in zip(pair.pods, changes, strict=True):
            assert pair.stat(pod, "^sds.default.update_success$") - before == rotations
        print(
            f"{rotations} rotations of both in {calls.seconds:.1f} s: {len(calls.answers)} requests "
            f"({calls.rate:.0f} in a second), {handshakes} handshakes"
        )


async def renewals_under_traffic(lab: Lab, life: float, seconds: float) -> None:
    """Callers call for so long, while leaves with a short life are renewed in time."""
    flags = ("--default-workload-cert-ttl", f"{life:g}s")
    async with served_pair(lab, "DELTA_GRPC", *flags) as (_, pair):
        drained = pair.drained()
        before = [pair.stat(pod, "^sds.default.update_success$") for pod in pair.pods]
        with calling(lab, pair) as calls:
            await asyncio.sleep(seconds)
        undisturbed(pair, calls, drained)
        for pod, count in zip(pair.pods, before, strict=True):
            # Between a half and two thirds of a life, and one renewal may be at either end.
            renewals = pair.stat(pod, "^sds.default.update_success$") - count
            assert seconds / (life * 2 / 3) - 2 <= renewals <= seconds / (life / 2) + 1
