"""Every query of every dashboard, asked of a real Prometheus that watches a real mesh with traffic.

Grafana itself is not there: what it would send is what is sent here, with its variables filled in.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from controlplane.envoy.names import PROMETHEUS_PORT
from controlplane.lab.fetch import Target, fetch
from controlplane.lab.shop import Shop
from controlplane.lab.steps import STEPS, Step
from controlplane.lab.waiting import wait_until
from tests.support.dashboards import Asked, asked
from tests.support.envoys import MARKS, laboratory
from tests.support.prometheus import CONFIG, PLANE, Prometheus, missing, program

pytestmark = [*MARKS, pytest.mark.skipif(bool(missing()), reason=missing())]

# The whole test lies in the window, so that what happened once is seen as well as what goes on.
FILLED = {"__rate_interval": "5m", "__range": "15m", "namespace": ".*", "app": ".*"}
EMPTY = {
    "control-plane: Input, refusals and faults / Updates refused (NACK)": "no Envoy refuses anything",
    "control-plane: Input, refusals and faults / Who refuses now": "no Envoy refuses anything",
    "control-plane: Input, refusals and faults / Streams refused": "nobody is turned away",
}
"""Queries that a mesh in good health has no answer to, and why."""
RARE = "control-plane: The process / Garbage collection per second"
"""May come about so soon, and need not."""
QUERIES = list(asked())
EJECTING = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "ratings", "namespace": "bookstore"},
    "spec": {
        "host": "ratings",
        "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 5, "baseEjectionTime": "30s"}},
    },
}


def config(address: str) -> str:
    """The configuration that is shipped, for a control plane at another address, and quicker."""
    text = CONFIG.read_text(encoding="utf-8")
    assert text.count(PLANE) == 2
    text = text.replace(PLANE, address)
    return text.replace("scrape_interval: 5s", "scrape_interval: 1s").replace(
        "scrape_timeout: 4s", "scrape_timeout: 1s"
    )


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Prometheus]]:
    """The bookstore, watched from before its first pod; everything that a panel shows has happened once."""
    with laboratory(tmp_path_factory.mktemp("dashboards")) as lab:
        shop = Shop(lab)
        shop.plane.wait_ready()
        at = shop.plane.monitoring
        assert at.namespace is not None
        prometheus = Prometheus(lab.site, at.namespace, config(f"{at.host}:{at.port}"))
        assert wait_until(lambda: prometheus.ask('up{job="mini-istiod"} == 1'), 30)
        shop.open("DELTA_GRPC")
        shop.write("ejecting.yaml", (EJECTING,))
        meshed = sum(pod.sidecar is not None for pod in lab.pods.values())
        assert wait_until(lambda: len(prometheus.ask('up{job="sidecars"} == 1')) == meshed, 40), (
            prometheus.targets()
        )
        for name in ("authorization", "canary-50-50", "strict"):
            play(shop, next(step for step in STEPS if step.name == name))
        # Envoy publishes the times of requests every five seconds.
        counted = 'sum by (app) (envoy_http_downstream_rq_time_count{direction="inbound",app="reviews"}) > 0'
        assert wait_until(lambda: prometheus.ask(counted), 30)
        play(shop, next(step for step in STEPS if step.name == "canary-50-50"))
        assert wait_until(lambda: has_grown(prometheus), 40)
        yield shop, prometheus


def play(shop: Shop, step: Step) -> None:
    """Write what a step writes, and send a few visitors."""
    shop.arrange(step)
    for visit in step.visits:
        assert len(list(shop.visit(visit, visit.requests(60)))) > 0


def has_grown(prometheus: Prometheus) -> bool:
    """Whether requests lie between two scrapes, so that there are rates, and quantiles."""
    rates = 'sum(rate(envoy_http_downstream_rq_time_count{direction="%s",app="%s"}[5m])) > 0'
    return all(
        prometheus.ask(rates % way)
        for way in (("inbound", "productpage"), ("inbound", "reviews"), ("outbound", "ingress"))
    )


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.called)
def test_a_query_has_an_answer(watched: tuple[Shop, Prometheus], query: Asked) -> None:
    _, prometheus = watched
    found = prometheus.ask(query.filled(FILLED))
    if query.called in EMPTY:
        assert all(one.value == 0 for one in found), EMPTY[query.called]
    else:
        assert found or query.called == RARE, query.filled(FILLED)


def test_the_excuses_are_those_of_queries_that_exist() -> None:
    assert {*EMPTY, RARE} <= {query.called for query in QUERIES}


def test_every_sidecar_is_scraped_although_mutual_tls_is_strict(watched: tuple[Shop, Prometheus]) -> None:
    shop, prometheus = watched
    health = prometheus.targets()
    found = {name.removeprefix("sidecars bookstore/") for name in health if name.startswith("sidecars")}
    assert found == {name for name, pod in shop.lab.pods.items() if pod.sidecar is not None}
    assert set(health.values()) == {"up"}


def test_the_numbers_are_those_of_the_traffic(watched: tuple[Shop, Prometheus]) -> None:
    """The canary by version and by subset; what a policy denied; whom STRICT turned away."""
    _, prometheus = watched

    def total(expr: str, label: str) -> Counter[str]:
        """The present value by a label; noughts are left out."""
        found = prometheus.ask(f"sum by ({label}) ({expr})")
        return +Counter({one.labels.get(label, ""): int(one.value) for one in found})

    def arrived() -> Counter[str]:
        return total('envoy_http_downstream_rq_xx{direction="inbound",app="reviews"}', "version")

    def left() -> Counter[str]:
        way = 'direction="outbound",app="productpage",service=~"reviews[.].+"'
        return total(f"envoy_cluster_upstream_rq_xx{{{way}}}", "subset")

    # Two sidecars are not scraped in the same moment.
    assert wait_until(lambda: arrived() == left(), 20), (arrived(), left())
    assert 0 < arrived()["v2"] < arrived()["v1"]
    denied = total('envoy_http_rbac_denied{direction="inbound"}', "app")
    refused = total('envoy_http_downstream_rq_xx{direction="inbound",envoy_response_code_class="4"}', "app")
    assert denied == refused
    assert set(denied) == {"details"}
    doors = total('envoy_listener_no_filter_chain_match{envoy_listener_address=~".+_15006"}', "app")
    assert doors["productpage"] > 0, "nobody was turned away: who is outside speaks plaintext"


def test_both_say_what_their_numbers_are_written_in(watched: tuple[Shop, Prometheus]) -> None:
    """Prometheus 3 takes nothing whose Content-Type it does not know; the one that runs here is lenient."""
    shop, _ = watched
    sidecar = Target(shop.pod("reviews-v1").netns, "127.0.0.1", PROMETHEUS_PORT)
    for target, path in ((sidecar, "/stats/prometheus"), (shop.plane.monitoring, "/metrics")):
        headers = {name.lower(): value for name, value in fetch(target, path).headers.items()}
        kind, _, parameters = headers["content-type"].partition(";")
        assert kind == "text/plain", headers
        assert "version=" not in parameters or re.search(r"version=(0\.0\.4|1\.0\.0)", parameters), headers


def test_a_sidecar_that_is_lost_stays_listed(watched: tuple[Shop, Prometheus]) -> None:
    """Last, because it is not mended: what is known to have a sidecar is asked, and seen to be down."""
    shop, prometheus = watched
    pod = shop.pod("ratings-v1")
    pod.processes["envoy"].kill()
    down = f'up{{job="sidecars",pod="{pod.spec.name}"}} == 0'
    assert wait_until(lambda: prometheus.ask(down), 20)


def test_promtool_takes_the_configuration() -> None:
    command = [str(program("promtool")), "check", "config", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
