"""Where the statistics of every sidecar are, in the form that Prometheus' HTTP service discovery reads.

Containers have addresses that no configuration file can name, and Prometheus should not need the Docker
socket, or an API server, to find them: the control plane knows them anyway.  What is listed is what has a
sidecar (the label by which clients speak mutual TLS to it says so), whether or not it is connected, so that
one that is lost is seen to be down; and what is connected without being such a Pod.

The format: https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from controlplane.envoy.names import PROMETHEUS_PORT
from controlplane.graph import Graph
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import pods
from controlplane.model.kinds.pod import Pod
from controlplane.model.proxy import Proxy
from controlplane.model.tls_mode import said_mutual
from controlplane.telemetry.http import Response, Route

PATH = "/sd/prometheus"

_UNSPECIFIED = frozenset({"0.0.0.0", "::"})
# Istio's rule for the canonical service and its revision: the first of these labels that is there.
_APP = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_VERSION = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")


class Scraped(NamedTuple):
    """One sidecar: `address` is "10.0.0.7" or an IPv6 address without brackets."""

    namespace: str
    pod: str
    app: str
    version: str
    address: str
    port: int = PROMETHEUS_PORT

    def as_json(self) -> dict[str, Any]:
        """A target group of its own, with the labels that all of its metrics get."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        labels = {
            "namespace": self.namespace,
            "pod": self.pod,
            "app": self.app,
            "version": self.version,
        }
        return {"targets": [f"{host}:{self.port}"], "labels": labels}


def scraped(found: Mapping[Key, Pod], connected: Iterable[Proxy]) -> Iterator[Scraped]:
    """Every sidecar that can be asked, by namespace and pod.

    One after the other, as somebody takes them: of Pods there may be many, and `found` may change meanwhile.
    """
    proxies = {Key(proxy.namespace, proxy.name): proxy for proxy in connected}
    for key in sorted({*found, *proxies}):
        pod, proxy = found.get(key), proxies.get(key)
        if proxy is not None:
            one = _of_proxy(key, proxy, pod)
        elif pod is not None and said_mutual(pod.meta.labels) and pod.pod_ips and _runs(pod):
            one = _of_pod(key, pod)
        else:
            continue
        if one.address not in _UNSPECIFIED:
            yield one


def scrape_route(graph: Graph, connected: Callable[[], Iterable[Proxy]], unready: Callable[[], str]) -> Route:
    """The path; `unready()` is "" or why the list is not known yet: Prometheus then keeps the one it has."""

    def listed(query: Mapping[str, str]) -> Any:
        reason = unready()
        if reason:
            return Response(503, body=f"{reason}\n".encode())
        return (one.as_json() for one in scraped(graph.rows(pods).values, connected()))

    return Route(PATH, "the sidecars, for Prometheus' HTTP service discovery", listed)


def _runs(pod: Pod) -> bool:
    return not pod.terminating and pod.phase not in ("Succeeded", "Failed")


def _of_pod(key: Key, pod: Pod) -> Scraped:
    labels = pod.meta.labels
    return Scraped(key.namespace, key.name, *_called(labels, key.name), pod.pod_ips[0])


def _of_proxy(key: Key, proxy: Proxy, pod: Pod | None) -> Scraped:
    """What is known of a workload counts; where nothing is, what its proxy says."""
    labels = proxy.labels if pod is None else pod.meta.labels
    addresses = (pod.pod_ips if pod is not None else ()) or proxy.ips or (proxy.ip,)
    called = _called(labels, proxy.metadata.workload_name or key.name)
    port = proxy.metadata.envoy_prometheus_port or PROMETHEUS_PORT
    return Scraped(key.namespace, key.name, *called, addresses[0], port)


def _called(labels: Labels, name: str) -> tuple[str, str]:
    known = dict(labels)
    app = next((known[label] for label in _APP if known.get(label)), name)
    return app, next((known[label] for label in _VERSION if known.get(label)), "latest")
