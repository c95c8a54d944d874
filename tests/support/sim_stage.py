"""Real Envoys beside the simulator: a mesh is served to both, the same calls are put to both.

Each call is a connection of its own.  What became of it is told by who answered (the application says where
it was found and what it was sent), and by the access log of the Envoy that was called.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane.lab import netns
from controlplane.lab.plane import Plane, start_plane
from controlplane.lab.pod_spec import App, PodSpec, Sidecar
from controlplane.lab.pods import Lab, Pod
from controlplane.lab.tokens import minter
from controlplane.lab.waiting import wait_until
from controlplane.model.kinds.allocated_address import allocated_key
from controlplane.sim import Call, Served, dumped
from tests.support.servers import Issuer
from tests.support.sim_draws import Round
from tests.support.sim_talk import Seen, talk
from tests.support.sim_world import (
    CLIENT,
    ELSEWHERE,
    GATE_LABELS,
    GATEWAY,
    NAMESPACE,
    NETWORKS,
    PORTS,
    SERVER,
    entry,
)

EVERYTHING = Path(__file__).parent / "everything.py"
IDENTITY = f"spiffe://cluster.local/ns/{NAMESPACE}/sa/client"
_LOG = {
    "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "route": "%ROUTE_NAME%",
}
_MESH = {
    "kind": "MeshConfig",
    "accessLogFile": "/dev/stdout",
    "accessLogEncoding": "JSON",
    "accessLogFormat": json.dumps(_LOG),
}
_PATIENCE = 5.0  # seconds
_FIRST_PORT, _LAST_PORT = 10_000, 30_000
_FLUSHED, _LOG_PATIENCE = 0.4, 10.0  # Envoy writes its log every 0.1 s


@dataclass(frozen=True)
class Configurations:
    """What each of the Envoys runs with."""

    client: Served
    server: Served
    gateway: Served

    def of(self, call: Call) -> Served:
        """Of the Envoy that a call meets first."""
        return {"outbound": self.client, "inbound": self.server, "direct": self.gateway}[call.way]


class Stage:
    """A client and a server with sidecars, a gateway, and a network in which every address answers."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.plane: Plane = start_plane(lab.site, house=lab.house())
        pem = lab.directory / "everything.pem"
        issued = Issuer().issue("everything.example.com")
        pem.write_bytes(issued.chain + issued.key)
        pem.chmod(0o644)
        self._secret = Issuer().issue("shop.example.com").secret("shop", "edge")
        self.plane.wait_ready()
        kubelet = lab.kubelet(self.plane.roots, minter(self.plane.data))
        sidecar = Sidecar(self.plane.secure, kubelet=kubelet)
        app = App(EVERYTHING, (str(pem), *map(str, PORTS)), libraries=True)
        self._elsewhere = lab.start(PodSpec("elsewhere", "outside", ELSEWHERE, app=app), None)
        lab.lead(self._elsewhere, NETWORKS)
        client = PodSpec("client", NAMESPACE, CLIENT, {"app": "client"}, "client")
        server = PodSpec("server", NAMESPACE, SERVER, {"app": "server"}, "server", app=app)
        gateway = PodSpec("gate", "edge", GATEWAY, GATE_LABELS, "gate", kind="router")
        self.client, self.server, self.gateway = (
            lab.start(spec, sidecar) for spec in (client, server, gateway)
        )
        self._round = 0
        self._port = _FIRST_PORT
        self._read: dict[str, int] = {}
        lab.wait_ready()

    def configure(self, round: Round) -> Configurations:
        """Serve this configuration; returns when all Envoys run with it, with what they run with."""
        self._round += 1
        marker = f"round-{self._round}.marker.test"
        marks = entry(
            "marker", marker, (("HTTP", 80),), resolution="STATIC", endpoints=[{"address": "11.0.0.1"}]
        )
        objects = [_importing(one, f"./{marker}") for one in round.objects]
        text = yaml.safe_dump_all([*objects, *_gate(), marks, {**_MESH, **round.mesh}])
        new = self._lab.directory / "round.new"
        new.write_text(f"{text}---\n{self._secret}")
        new.rename(self.plane.config / "round.yaml")
        dumps: list[Any] = []

        def settled() -> bool:
            if not self._answered(marker):
                return False
            dumps[:] = [pod.admin.config_dump() for pod in self._envoys]
            return all(marker in json.dumps(dump) and not _warming(dump) for dump in dumps)

        assert wait_until(settled, 30), "the Envoys do not settle"
        refused = {pod.spec.name: pod.rejected() for pod in self._envoys if pod.rejected()}
        assert refused == {}, refused
        own = (CLIENT, SERVER, GATEWAY)
        return Configurations(*(dumped(dump, [ip]) for dump, ip in zip(dumps, own, strict=True)))

    def _answered(self, marker: str) -> bool:
        """Whether every Envoy has answered all that a round gave rise to; last is the marker's own address.

        That two looks at an Envoy are alike proves nothing: its routes may still be on their way.
        """
        traces = self.plane.get("/debug/traces?limit=100")
        last = ("AllocatedAddress", *allocated_key(marker, NAMESPACE))
        found = {(one["kind"], one["namespace"], one["name"]) for one in traces}
        return last in found and all(one["complete"] for one in traces)

    @property
    def _envoys(self) -> tuple[Pod, Pod, Pod]:
        return self.client, self.server, self.gateway

    def play(self, calls: list[Call]) -> list[Seen]:
        """Make the calls, one after the other."""
        played = [self._call(call) for call in calls]
        # Whoever was answered is in a log, sooner or later.
        logs = self._logs({peer for seen, peer in played if seen.status is not None or seen.told})
        return [seen._replace(log=logs.get(peer, {})) for seen, peer in played]

    def _call(self, call: Call) -> tuple[Seen, str]:
        space, own = (
            (self.client.netns, CLIENT) if call.way == "outbound" else (self._elsewhere.netns, ELSEWHERE)
        )
        # No two calls have a port in common, so that each is found in the log.
        self._port = self._port + 1 if self._port < _LAST_PORT else _FIRST_PORT
        source = (own, self._port)
        peer = f"{own}:{self._port}"
        try:
            with netns.inside(space, lambda: _connect((call.address, call.port), source)) as connection:
                return talk(connection, call), peer
        except (OSError, http.client.HTTPException):
            return Seen(), peer

    def _logs(self, wanted: set[str]) -> dict[str, Any]:
        """What the Envoys wrote, by connection: of these, and of others as far as they come along."""
        found: dict[str, Any] = {}
        start = time.monotonic()
        while True:
            for line in (line for pod in self._envoys for line in self._news(pod)):
                entry = json.loads(line)
                found.setdefault(entry["peer"], entry)
            waited = time.monotonic() - start
            if waited > _LOG_PATIENCE or (waited > _FLUSHED and found.keys() >= wanted):
                return found
            time.sleep(0.05)

    def _news(self, pod: Pod) -> Iterator[str]:
        text = (pod.directory / "envoy.log").read_text()
        start = self._read.get(pod.spec.name, 0)
        end = text.rfind("\n") + 1
        self._read[pod.spec.name] = end
        return (line for line in text[start:end].splitlines() if line.startswith("{"))


def _importing(raw: dict[str, Any], host: str) -> dict[str, Any]:
    """A Sidecar that imports this as well; any other object as it is."""
    if raw["kind"] != "Sidecar":
        return raw
    egress = [{**one, "hosts": [*one["hosts"], host]} for one in raw["spec"]["egress"]]
    return {**raw, "spec": {**raw["spec"], "egress": egress}}


def _gate() -> list[dict[str, Any]]:
    """The gateway's own objects: it is a pod of a Service."""
    ports = [
        {"name": name, "port": port, "targetPort": port}
        for name, port in (("http", 8080), ("https", 8443), ("tls", 9443), ("tcp", 9000))
    ]
    meta = {"name": "gate", "namespace": "edge"}
    ready = [{"type": "Ready", "status": "True"}]
    service = {"clusterIP": "10.96.0.20", "selector": GATE_LABELS, "ports": ports}
    pod = {"serviceAccountName": "gate", "containers": [{"name": "proxy"}]}
    status = {"podIP": GATEWAY, "phase": "Running", "conditions": ready}
    labelled = {**meta, "labels": GATE_LABELS}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "v1", "kind": "Pod", "metadata": labelled, "spec": pod, "status": status},
    ]


def _warming(dump: Any) -> bool:
    """Whether listeners or clusters wait for something, while those before them are at work."""
    found = [one for part in dump["configs"] for one in part.get("dynamic_listeners", ())]
    clusters = any(part.get("dynamic_warming_clusters") for part in dump["configs"])
    return clusters or any("warming_state" in one for one in found)


def _connect(target: tuple[str, int], source: tuple[str, int]) -> socket.socket:
    return socket.create_connection(target, _PATIENCE, source)
