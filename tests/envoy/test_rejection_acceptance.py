"""A real Envoy rejects a route that nobody could foresee: it keeps its last good one, and all else flows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.pods import Pod, PodSpec, Sidecar
from controlplane.lab.waiting import wait_until
from tests.support import objects as a
from tests.support.envoys import MARKS, laboratory, normal_form
from tests.support.files import MeshFiles
from tests.support.process import Process, started

pytestmark = MARKS

HOST = "web.default.svc.cluster.local:80"


def domain(name: str) -> a.Object:
    """A patch that gives one virtual host another domain: a good message, whatever the name is."""
    match = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": HOST}}}
    patch = {"operation": "MERGE", "value": {"domains": [name]}}
    patches = [{"applyTo": "VIRTUAL_HOST", "match": match, "patch": patch}]
    return a.thing("EnvoyFilter", "domain", "default", {"spec": {"configPatches": patches}})


def route(prefix: str) -> a.Object:
    destination = [{"destination": {"host": "web"}}]
    routes = [{"match": [{"uri": {"prefix": prefix}}], "route": destination}, {"route": destination}]
    return a.thing("VirtualService", "web", "default", {"spec": {"hosts": ["web"], "http": routes}})


def served_routes(pod: Pod) -> str:
    return json.dumps(normal_form(pod.admin)["RoutesConfigDump"])


def rejections(process: Process) -> int:
    """How many responses were rejected; Envoy's own statistic counts each once for every subscription."""
    return sum(one["message"] == "a proxy rejected a response" for one in process.records())


def refused(process: Process) -> list[tuple[str, str]]:
    """The objects that proxies refuse something of, with the messages."""
    found = process.get("/debug/problems").json
    return [(f"{one['kind']} {one['name']}", one["message"]) for one in found if one["level"] == "error"]


def rds_error(process: Process) -> str:
    (one,) = process.get("/debug/syncz").json
    (found,) = (state["lastError"] for url, state in one["resources"].items() if "RouteConfiguration" in url)
    return str(found)


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_a_rejected_route(tmp_path: Path, protocol: Protocol) -> None:
    with laboratory(tmp_path) as lab:
        files = MeshFiles(lab.directory / "config")
        files.put(a.service("web"))
        files.put(a.endpoints("web", ["10.244.0.2"]))
        files.put(route("/good"))
        with started(lab.directory) as process:
            process.wait_ready()
            spec = PodSpec("web-1", "default", "10.244.0.2", labels={"app": "web"})
            pod = lab.start(spec, Sidecar(process.address, protocol))
            lab.wait_ready()
            assert wait_until(lambda: "/good" in served_routes(pod), 40)

            # Of all virtual hosts one may have it, and those that nobody has registered have it already.
            process.files.put(domain("*"))
            process.wait(lambda: "wildcard domain" in rds_error(process), lambda: rds_error(process), 10)
            assert "/good" in served_routes(pod)
            ((whose, message),) = refused(process)
            assert whose == "EnvoyFilter domain"
            assert message.startswith(
                "proxy web-1.default refused RouteConfiguration '80': what it had of it"
            )
            assert "wildcard domain" in message
            # Everything else arrives, and so do other routes of the same resource once it is mended.
            process.files.put(a.service("new", number=20))
            process.files.put(a.endpoints("web", ["10.244.0.2", "10.244.0.9"]))
            assert wait_until(lambda: "10.244.0.9" in json.dumps(normal_form(pod.admin)), 40)
            assert wait_until(lambda: "||new.default" in json.dumps(normal_form(pod.admin)), 40)
            assert "/good" in served_routes(pod)
            # Two versions of the route configuration were bad, and neither was sent over and over.
            assert 1 <= rejections(process) <= 2
            # What waits with it is not to blame.
            assert [whose for whose, _ in refused(process)] == ["EnvoyFilter domain"]

            process.files.put(domain("web.example.com"))
            process.files.put(route("/mended"))
            assert wait_until(lambda: "/mended" in served_routes(pod), 40)
            process.wait(lambda: rds_error(process) == "", "no error any more", 10)
            assert refused(process) == []
            assert "||new.default" in served_routes(pod)
            assert 1 <= rejections(process) <= 2


def limits(timeout: str) -> a.Object:
    """A patch of clusters by a value that is a number, and for Envoy no good one."""
    value = {"connect_timeout": timeout}
    patch = {"operation": "MERGE", "value": value}
    match = {"context": "SIDECAR_OUTBOUND", "cluster": {"service": "web.default.svc.cluster.local"}}
    patches = [{"applyTo": "CLUSTER", "match": match, "patch": patch}]
    one = a.thing("EnvoyFilter", "limits", "default", {"spec": {"configPatches": patches}})
    return {**one, "apiVersion": "networking.istio.io/v1alpha3"}


def test_a_patch_that_only_envoy_can_refuse(tmp_path: Path) -> None:
    """Well-formed, and against a constraint: the proxy keeps its cluster, and its author is told."""
    with laboratory(tmp_path) as lab:
        files = MeshFiles(lab.directory / "config")
        files.put(a.service("web"))
        files.put(a.endpoints("web", ["10.244.0.2"]))
        files.put(limits("3s"))
        with started(lab.directory) as process:
            process.wait_ready()
            spec = PodSpec("web-1", "default", "10.244.0.2", labels={"app": "web"})
            pod = lab.start(spec, Sidecar(process.address, "DELTA_GRPC"))
            lab.wait_ready()
            assert wait_until(lambda: '"3s"' in json.dumps(normal_form(pod.admin)), 40)
            assert refused(process) == []

            process.files.put(limits("-1s"))
            process.wait(lambda: refused(process), lambda: str(process.get("/debug/syncz").json), 10)
            ((whose, message),) = refused(process)
            assert whose == "EnvoyFilter limits"
            assert "refused Cluster 'outbound|80||web.default.svc.cluster.local'" in message
            assert '"3s"' in json.dumps(normal_form(pod.admin))

            process.files.put(limits("4s"))
            assert wait_until(lambda: '"4s"' in json.dumps(normal_form(pod.admin)), 40)
            process.wait(lambda: refused(process) == [], "no error any more", 10)
