"""The profile `observability`: Prometheus finds every sidecar by itself, and the dashboards have data.

Grafana's part is checked without Grafana: its files in tests/unit/deploy, the queries here and, one by one,
in tests/envoy/test_dashboards.py.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from controlplane.lab.ports import free_port
from e2e.compose.load import Load
from e2e.compose.project import Project, wait_until
from e2e.compose.stages import FACTS, stage
from tests.support.dashboards import asked

# What only some meshes have: policies, outlier detection, refusals.
_NOT_IN_EVERY_MESH = {
    "control-plane: Input, refusals and faults / Updates refused (NACK)",
    "control-plane: Input, refusals and faults / Who refuses now",
    "control-plane: Input, refusals and faults / Streams refused",
    "control-plane: The process / Garbage collection per second",
    "mesh: Who calls whom, where requests leave / Ejected",
    "mesh: Mutual TLS and policies / Denied by policy",
    "mesh: Mutual TLS and policies / Allowed by policy",
}
# A quantile of nothing is no number: these need what happens at a start, or a change while Prometheus looks.
_MOMENTS = (
    "How long changes take",
    "control-plane: Certificates / Waiting for the first certificate",
)


@pytest.fixture(scope="module")
def prometheus(bookstore: Project) -> Iterator[str]:
    """The address of Prometheus' API, beside the running bookstore."""
    port = free_port()
    watched = replace(bookstore, env={**bookstore.env, "PROMETHEUS_PORT": str(port)})
    profile = ("--profile", "observability")
    address = f"http://127.0.0.1:{port}/api/v1"
    try:
        with stage("observability: prometheus up, every target up"):
            watched.compose(*profile, "up", "--detach", "prometheus")
            wait_until(lambda: _all_up(address, _sidecars(bookstore)), 60, lambda: str(_targets(address)))
        yield address
    finally:
        watched.compose(*profile, "rm", "--stop", "--force", "prometheus")


def test_every_panel_of_the_mesh_has_something_to_show(prometheus: str, ingress_port: int) -> None:
    with Load(ingress_port, pause=0.0) as load:
        # Envoy publishes times every five seconds, and Prometheus asks every five.
        wait_until(lambda: _busy(prometheus), 60, lambda: "no request is counted")
        wait_until(lambda: not _silent(prometheus), 60, lambda: f"no answer: {_silent(prometheus)}")
    assert load.failed == []


def test_what_is_scraped_is_small(prometheus: str) -> None:
    """A sidecar tells a small part of what it could: every series costs Prometheus memory."""
    found = _ask(prometheus, 'max(scrape_samples_scraped{job="sidecars"})')
    most = int(float(found[0]["value"][1]))
    FACTS.append(f"a scrape of a sidecar: at most {most} samples")
    assert 100 < most < 5000


def _sidecars(project: Project) -> set[str]:
    labels = (container["Config"]["Labels"] for container in project.inspect())
    return {label["mini-istiod.proxy"] for label in labels if "mini-istiod.proxy" in label}


def _all_up(address: str, sidecars: set[str]) -> bool:
    found = _targets(address)
    return set(found) == {"mini-istiod", *sidecars} and set(found.values()) == {"up"}


def _targets(address: str) -> dict[str, str]:
    """The health of the control plane and of each sidecar, by name."""
    try:
        active = _get(address, "targets", state="active")["activeTargets"]
    except OSError:
        return {}
    return {one["labels"].get("pod", one["labels"]["job"]): one["health"] for one in active}


def _busy(address: str) -> bool:
    rate = 'sum(rate(envoy_http_downstream_rq_time_count{direction="inbound",app="reviews"}[5m])) > 0'
    return bool(_ask(address, rate))


def _silent(address: str) -> list[str]:
    """The panels without an answer that should have one."""
    values = {"__rate_interval": "5m", "__range": "15m", "namespace": ".*", "app": ".*"}
    return [
        query.called
        for query in asked()
        if query.called not in _NOT_IN_EVERY_MESH
        and not any(moment in query.called for moment in _MOMENTS)
        and not _ask(address, query.filled(values))
    ]


def _ask(address: str, expr: str) -> list[Any]:
    found = _get(address, "query", query=expr)["result"]
    return [row for row in found if row["value"][1] != "NaN"]


def _get(address: str, what: str, **parameters: str) -> Any:
    with urllib.request.urlopen(f"{address}/{what}?{urlencode(parameters)}", timeout=20) as answer:
        return json.load(answer)["data"]
