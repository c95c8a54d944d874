"""Where Prometheus finds the sidecars: Pods that have one, and other proxies that are connected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.app.scrape import PATH, scrape_route, scraped
from controlplane.graph import Graph
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME, pods
from controlplane.model.kinds.pod import Pod
from controlplane.model.proxy import Proxy, parse_node
from controlplane.telemetry.http import Response

MESHED = {"security.istio.io/tlsMode": "istio"}


def pod(name: str, *ips: str, labels: dict[str, str] | None = None, **status: Any) -> tuple[Key, Pod]:
    raw = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": MESHED if labels is None else labels,
            **status.pop("metadata", {}),
        },
        "spec": {},
        "status": {"podIPs": [{"ip": ip} for ip in ips], **status},
    }
    parsed = BY_NAME["Pod"].parse(raw)
    return parsed.key, parsed.value


def proxy(name: str, ip: str = "0.0.0.0", kind: str = "sidecar", **metadata: Any) -> Proxy:
    return parse_node(f"{kind}~{ip}~{name}.shop~shop.svc.cluster.local", metadata)


def targets(found: list[tuple[Key, Pod]], *connected: Proxy) -> dict[str, str]:
    return {one.pod: f"{one.address}:{one.port}" for one in scraped(dict(found), connected)}


def test_a_pod_with_a_sidecar_is_asked_whether_it_is_connected_or_not() -> None:
    found = [pod("web", "10.0.0.1"), pod("lost", "10.0.0.2")]
    assert targets(found, proxy("web")) == {"web": "10.0.0.1:15090", "lost": "10.0.0.2:15090"}


def test_who_has_no_sidecar_no_address_or_no_future_is_not() -> None:
    found = [
        pod("plain", "10.0.0.1", labels={}),
        pod("unborn"),
        pod("done", "10.0.0.2", phase="Succeeded"),
        pod("leaving", "10.0.0.3", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ]
    assert targets(found) == {}


def test_a_gateway_and_a_machine_are_asked_because_they_are_connected() -> None:
    found = [pod("edge", "10.0.0.5", labels={})]
    connected = (proxy("edge", kind="router"), proxy("machine", "10.1.0.9"), proxy("nowhere"))
    assert targets(found, *connected) == {"edge": "10.0.0.5:15090", "machine": "10.1.0.9:15090"}


def test_a_proxy_may_serve_its_statistics_elsewhere() -> None:
    connected = proxy("web", ENVOY_PROMETHEUS_PORT=15092)
    assert targets([pod("web", "10.0.0.1")], connected) == {"web": "10.0.0.1:15092"}


def test_an_address_of_the_sixth_version_is_in_brackets() -> None:
    (one,) = scraped(dict([pod("web", "fd00::7")]), ())
    assert one.as_json()["targets"] == ["[fd00::7]:15090"]


@pytest.mark.parametrize(
    ("labels", "app", "version"),
    [
        ({}, "web-1", "latest"),
        ({"app": "web", "version": "v2"}, "web", "v2"),
        ({"app": "a", "app.kubernetes.io/name": "b", "app.kubernetes.io/version": "v3"}, "b", "v3"),
        (
            {
                "app": "a",
                "service.istio.io/canonical-name": "c",
                "service.istio.io/canonical-revision": "v4",
                "version": "v1",
            },
            "c",
            "v4",
        ),
    ],
)
def test_it_is_called_what_istio_calls_it(labels: dict[str, str], app: str, version: str) -> None:
    (one,) = scraped(dict([pod("web-1", "10.0.0.1", labels={**MESHED, **labels})]), ())
    assert (one.namespace, one.pod, one.app, one.version) == ("shop", "web-1", app, version)


def test_pods_may_come_and_go_while_the_list_is_read() -> None:
    found = dict([pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3")])
    listed = scraped(found, ())
    assert next(listed).pod == "a"
    del found[Key("shop", "b")]
    found.update([pod("d", "10.0.0.4")])
    assert [one.pod for one in listed] == ["c"]


def test_without_a_label_it_is_called_what_its_workload_is() -> None:
    found = dict([pod("edge-5c4-x9", "10.0.0.5", labels={})])
    (one,) = scraped(found, (proxy("edge-5c4-x9", kind="router", WORKLOAD_NAME="edge"),))
    assert (one.app, one.version) == ("edge", "latest")


def test_the_answer_is_what_prometheus_reads() -> None:
    graph = Graph()
    key, value = pod("web-1", "10.0.0.1", labels={**MESHED, "app": "web", "version": "v2"})
    graph.commit([(pods, key, value)])
    route = scrape_route(graph, list, lambda: "")
    assert (route.path, route.act) == (PATH, None)
    labels = {"namespace": "shop", "pod": "web-1", "app": "web", "version": "v2"}
    assert json.loads(json.dumps(list(route.handler({})))) == [
        {"targets": ["10.0.0.1:15090"], "labels": labels}
    ]


def test_a_control_plane_that_does_not_know_yet_says_so_instead_of_nothing() -> None:
    answer = scrape_route(Graph(), list, lambda: "waiting for docker").handler({})
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (503, b"waiting for docker\n")
