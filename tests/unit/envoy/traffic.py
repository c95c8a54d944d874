"""Listeners and routes of a proxy in a test, as decoded messages."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.feeds import feeds
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import LISTENER, ROUTE
from controlplane.mesh.projections import ProxyView, RouteScope, Scope
from tests.unit.mesh.world import World


class Traffic(World):
    """A graph with objects in it, seen from a client: of a namespace, or of a view."""

    def listener_resources(self, who: str | ProxyView = "default") -> dict[str, Resource]:
        return self.resources(feeds(client(who))[LISTENER])

    def route_resources(self, who: str | ProxyView = "default") -> dict[str, Resource]:
        return self.resources(feeds(client(who))[ROUTE])

    def listeners(self, who: str | ProxyView = "default") -> dict[str, Any]:
        """Name -> Listener message."""
        found = self.listener_resources(who)
        return {name: pb.listener.Listener.FromString(r.body) for name, r in found.items()}

    def routes(self, who: str | ProxyView = "default") -> dict[str, Any]:
        """Name -> RouteConfiguration message; each must be what serializing it whole would give."""
        found = {}
        for name, one in self.route_resources(who).items():
            found[name] = pb.route.RouteConfiguration.FromString(one.body)
            assert pb.deterministic(found[name]) == one.body
        return found

    def host(self, route: str, host: str, who: str | ProxyView = "default") -> Any:
        """The virtual host of a service in a route configuration."""
        (found,) = (h for h in self.routes(who)[route].virtual_hosts if h.name.rpartition(":")[0] == host)
        return found


def client(who: str | ProxyView) -> ProxyView:
    """The view of a client in a namespace that answers to nobody."""
    return who if isinstance(who, ProxyView) else ProxyView(Scope(who), None)


def scope(namespace: str) -> RouteScope:
    return RouteScope(Scope(namespace))


def domains(configuration: Any) -> dict[str, list[str]]:
    """Virtual host -> domains; no domain may be in two of them."""
    found = {host.name: list(host.domains) for host in configuration.virtual_hosts}
    every = [domain.lower() for names in found.values() for domain in names]
    assert len(every) == len(set(every)), every
    return found


def clusters(route: Any) -> list[tuple[str, int]]:
    """(cluster, weight) of a route; weight 0 for the only one."""
    if route.route.cluster:
        return [(route.route.cluster, 0)]
    return [(one.name, one.weight.value) for one in route.route.weighted_clusters.clusters]


def virtual_service(name: str, hosts: str, http: str, *, namespace: str = "default", **spec: str) -> str:
    """A VirtualService in YAML; `http` and other spec fields are in flow style."""
    more = "".join(f"  {field}: {value}\n" for field, value in spec.items() if field != "created")
    created = spec.get("created", "")
    return (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}\n"
        f"spec:\n  hosts: {hosts}\n" + (f"  http: {http}\n" if http else "") + more + "---\n"
    )
