"""Gateways in a test: what a proxy at the edge listens to and where it sends requests, decoded."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.types import LISTENER, ROUTE
from controlplane.mesh.projections import ProxyView
from tests.unit.mesh.world import World

MANAGER = "envoy.filters.network.http_connection_manager"
NODE = "router~10.0.0.9~gw-1.edge~edge.svc.cluster.local"


class Edge(World):
    """A graph with objects in it, seen from a gateway of the namespace `edge`."""

    def view_of(self, **metadata: Any) -> ProxyView:
        return self.view(NODE, {"NAMESPACE": "edge", "LABELS": {"istio": "gw"}, **metadata})

    def listeners(self, **metadata: Any) -> dict[str, Any]:
        """Name -> Listener; each must be what serializing it whole would give."""
        found = {}
        for name, one in self.resources(feeds(self.view_of(**metadata))[LISTENER]).items():
            found[name] = pb.listener.Listener.FromString(one.body)
            assert pb.deterministic(found[name]) == one.body
            filters = (filter for chain in found[name].filter_chains for filter in chain.filters)
            managers = (manager_of(filter) for filter in filters if filter.name == MANAGER)
            assert one.refs == tuple(manager.rds.route_config_name for manager in managers)
        return found

    def routes(self, **metadata: Any) -> dict[str, Any]:
        """Name -> RouteConfiguration; each must be what serializing it whole would give."""
        found = {}
        for name, one in self.resources(feeds(self.view_of(**metadata))[ROUTE]).items():
            found[name] = pb.route.RouteConfiguration.FromString(one.body)
            assert pb.deterministic(found[name]) == one.body
        return found

    def answers(self, route: str) -> dict[str, list[str]]:
        """Domains, joined by spaces -> what each route of the virtual host does, in short."""
        found = self.routes()[route].virtual_hosts
        return {" ".join(host.domains): [short(one) for one in host.routes] for host in found}


def manager_of(filter: Any) -> Any:
    """The HTTP connection manager in a network filter."""
    return pb.hcm.HttpConnectionManager.FromString(filter.typed_config.value)


def short(route: Any) -> str:
    """ "/path -> host:port" or "/path -> status"."""
    path = route.match.path or (route.match.prefix + "*" if route.match.prefix else "~")
    if route.HasField("direct_response"):
        return f"{path} -> {route.direct_response.status}"
    if route.HasField("redirect"):
        return f"{path} -> {route.redirect.scheme_redirect}"
    _, port, subset, host = route.route.cluster.split("|")
    return f"{path} -> {host.partition('.')[0]}{'/' if subset else ''}{subset}:{port}"


def gateway(name: str, servers: str, *, namespace: str = "edge", created: str = "") -> str:
    """A Gateway in YAML; `servers` in flow style."""
    return (
        "apiVersion: networking.istio.io/v1\nkind: Gateway\n"
        f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}\n"
        f"spec:\n  selector: {{istio: gw}}\n  servers: {servers}\n---\n"
    )


def http(hosts: str, number: int = 80, name: str = "http", **more: str) -> str:
    """A plaintext server in flow style."""
    extra = "".join(f", {field}: {value}" for field, value in more.items())
    return f"{{port: {{number: {number}, name: {name}, protocol: HTTP}}, hosts: {hosts}{extra}}}"


def https(hosts: str, tls: str, number: int = 443, name: str = "https") -> str:
    """A server that ends TLS in flow style."""
    return f"{{port: {{number: {number}, name: {name}, protocol: HTTPS}}, hosts: {hosts}, tls: {tls}}}"
