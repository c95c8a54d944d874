"""Everything one proxy would be served, computed at once: for goldens, offline compiles and checks."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.base.errors import QueryFailed
from controlplane.envoy.feeds import feeds
from controlplane.envoy.on_demand import Ask, asked
from controlplane.envoy.resource import Resource
from controlplane.graph import Failure, Graph
from controlplane.mesh.proxies import proxy_view
from controlplane.model.proxy import Proxy


def snapshot(graph: Graph, proxy: Proxy, asks: Iterable[str] | None = None) -> dict[str, dict[str, Resource]]:
    """Type URL -> name -> Resource, sorted by name.  Raises QueryFailed where a query raised.

    With `asks`, names of virtual hosts, the proxy is one that is given those that it asks for.
    """
    view = graph.lease(proxy_view, proxy)
    graph.settle()
    if asks is not None:
        graph.commit((asked, Ask(view.value.routes, name), True) for name in asks)
    served: dict[str, dict[str, Resource]] = {}
    for url, maps in feeds(view.value, on_demand=asks is not None).items():
        found: dict[str, Resource] = {}
        for keyed, args in maps:
            lease = graph.lease(keyed, *args)
            graph.settle()
            for name in lease.keys():
                value = lease.get(name)
                if isinstance(value, Failure):
                    raise QueryFailed(value.node, value.cause)
                if name in found:
                    raise AssertionError(f"{name} is in two maps of {url}")
                found[name] = value
            lease.release()
        served[url] = dict(sorted(found.items()))
    view.release()
    return served
