"""A mesh in a test: YAML goes in as a user writes it, query results and decoded messages come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import yaml

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import CLUSTER, ENDPOINT
from controlplane.graph import Failure, Graph
from controlplane.mesh.proxies import proxy_view
from controlplane.mesh.scope import ProxyView, Scope
from controlplane.model.identity import parse_spiffe
from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME
from controlplane.model.proxy import parse_node


class World:
    """A graph with objects in it."""

    def __init__(self, text: str = "", *, paranoid: bool = False) -> None:
        self.graph = Graph(paranoid=paranoid)
        self.leases: dict[Any, Any] = {}
        self.apply(text)

    def apply(self, text: str) -> None:
        """Create or replace the objects of a YAML text; an object that does not parse fails the test."""
        self.graph.commit([self._write(raw) for raw in yaml.safe_load_all(text) if raw])

    def _write(self, raw: Mapping[str, Any]) -> tuple[Any, Key, Any]:
        kind = BY_NAME[raw["kind"]]
        parsed = kind.parse(raw, None)
        assert parsed.value is not None and parsed.key is not None, parsed.problems
        return (kind.table, parsed.key, parsed.value)

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        self.graph.commit([(BY_NAME[kind].table, Key(namespace, name), None)])

    def read(self, query: Any, *args: Any) -> Any:
        return self.graph.read(query, *args)

    def map(self, keyed: Any, *args: Any) -> dict[Any, Any]:
        """A keyed map in full; the lease is kept, so that later reads are incremental."""
        lease = self.leases.get((keyed, args))
        if lease is None:
            lease = self.leases[keyed, args] = self.graph.lease(keyed, *args)
        self.graph.settle()
        assert lease.failure is None, lease.failure
        found = {key: lease.get(key) for key in lease.keys()}
        for value in found.values():
            assert not isinstance(value, Failure), value
        return found

    def changed(self, keyed: Any, *args: Any) -> tuple[set[Any], set[Any]]:
        """What the last commit put into a map that was read before, and what it took out."""
        self.graph.settle()
        delta = self.leases[keyed, args].since(self.graph.revision - 1)
        assert delta is not None
        return set(delta.upserts), set(delta.removed)

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """How often each query ran inside the block, by name ("endpoints.load_assignment")."""
        self.graph.settle()
        before = Counter(self.graph.counters.by_query)
        runs: Counter[str] = Counter()
        yield runs
        self.graph.settle()
        runs.update(self.graph.counters.by_query - before)

    # Envoy's side.

    def view(self, id: str, metadata: Mapping[str, Any] | None = None, identity: str = "") -> ProxyView:
        """The view of a proxy by node id, e.g. sidecar~10.0.0.1~a.default~default.svc.cluster.local.

        `identity` is the SPIFFE ID that it is known to have, if any.
        """
        proxy = replace(parse_node(id, metadata), identity=parse_spiffe(identity))
        return self.read(proxy_view, proxy)  # type: ignore[no-any-return]

    def resources(self, maps: Any) -> dict[str, Resource]:
        """The union of keyed maps of resources; their names must be disjoint."""
        out: dict[str, Resource] = {}
        for keyed, args in maps:
            found = self.map(keyed, *args)
            assert not out.keys() & found.keys()
            out.update(found)
        for name, resource in out.items():
            assert resource.name == name
        return out

    def clusters(self, scope: Scope | ProxyView) -> dict[str, Any]:
        """Name -> Cluster message: outbound ones of a scope, or all of a view."""
        view = scope if isinstance(scope, ProxyView) else ProxyView(scope, None)
        found = self.resources(feeds(view)[CLUSTER])
        return {name: pb.cluster.Cluster.FromString(r.body) for name, r in found.items()}

    def outbound(self, namespace: str = "default") -> dict[str, Any]:
        """The clusters of clients in a namespace that begin with "outbound|"."""
        found = self.clusters(Scope(namespace))
        return {name: cluster for name, cluster in found.items() if name.startswith("outbound|")}

    def assignments(self, namespace: str | Scope = "default") -> dict[str, Any]:
        """Name -> ClusterLoadAssignment message of a scope."""
        scope = namespace if isinstance(namespace, Scope) else Scope(namespace)
        found = self.resources(feeds(ProxyView(scope, None))[ENDPOINT])
        return {n: pb.endpoint.ClusterLoadAssignment.FromString(r.body) for n, r in found.items()}

    def addresses(self, cluster: str, namespace: str = "default") -> list[str]:
        """The address:port of each endpoint of an EDS cluster, in order; "!" before those not ready."""
        assignment = self.assignments(namespace)[cluster]
        return [written(e) for places in assignment.endpoints for e in places.lb_endpoints]


def written(endpoint: Any) -> str:
    """One LbEndpoint as short text."""
    address = endpoint.endpoint.address
    unready = "!" if endpoint.health_status == pb.health_check.UNHEALTHY else ""
    if address.HasField("pipe"):
        return unready + address.pipe.path
    return f"{unready}{address.socket_address.address}:{address.socket_address.port_value}"


def service(name: str, ports: str, *, namespace: str = "default", extra: str = "", **meta: str) -> str:
    """A Service in YAML; `ports` is like "http=80:8080, grpc=9000, metrics=15020/UDP"."""
    lines = [
        "apiVersion: v1",
        "kind: Service",
        f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {meta.get('created', '')!r}}}",
        "spec:",
        f"  selector: {{app: {meta.get('app', name)}}}",
        f"  clusterIP: {meta.get('ip', '10.96.0.10')}",
        "  ports:",
    ]
    for part in ports.split(","):
        port_name, _, rest = part.strip().partition("=")
        rest, _, protocol = rest.partition("/")
        number, _, target = rest.partition(":")
        lines.append(
            f"  - {{name: {port_name}, port: {number}, targetPort: {target or number}, "
            f"protocol: {protocol or 'TCP'}}}"
        )
    lines += [f"  {line}" for line in extra.strip().splitlines()]
    return "\n".join(lines) + "\n---\n"


def pod(name: str, ip: str, labels: str, *, namespace: str = "default", extra: str = "") -> str:
    """A ready Pod in YAML; `labels` is like "app: reviews, version: v1"."""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}
spec:
  serviceAccountName: {name.split("-")[0]}
  containers: [{{name: app, ports: [{{name: web, containerPort: 9080}}]}}]
{extra}
status: {{podIP: {ip}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
"""


def slice_of(
    service_name: str,
    endpoints: str,
    *,
    port: str = "http=8080",
    namespace: str = "default",
    suffix: str = "a",
) -> str:
    """An EndpointSlice in YAML; `endpoints` is like "10.0.0.1 reviews-1, !10.0.0.2, -10.0.0.3".

    After an address its pod's name; "!" means not ready, "-" terminating.
    """
    port_name, _, number = port.partition("=")
    lines = [
        "apiVersion: discovery.k8s.io/v1",
        "kind: EndpointSlice",
        f"metadata: {{name: {service_name}-{suffix}, namespace: {namespace}, "
        f"labels: {{kubernetes.io/service-name: {service_name}}}}}",
        "addressType: IPv4",
        f"ports: [{{name: {port_name}, port: {number}, protocol: TCP}}]",
        "endpoints:",
    ]
    for part in endpoints.split(","):
        address, _, target = part.strip().partition(" ")
        if not address:
            continue
        ready = "false" if address[0] in "!-" else "true"
        gone = "true" if address[0] == "-" else "false"
        entry = f"addresses: [{address.lstrip('!-')}], conditions: {{ready: {ready}, terminating: {gone}}}"
        if target:
            entry += f", targetRef: {{kind: Pod, name: {target}, namespace: {namespace}}}"
        lines.append(f"- {{{entry}}}")
    if lines[-1] == "endpoints:":
        lines[-1] = "endpoints: []"
    return "\n".join(lines) + "\n---\n"
