"""Proxies of all sorts: those of the golden cases, and others drawn after them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from controlplane.envoy.feeds import Maps, feeds
from controlplane.envoy.on_demand import Ask
from controlplane.envoy.resource import Resource
from controlplane.graph import Graph, Lease
from controlplane.mesh.proxies import proxy_view
from controlplane.model.identity import Holder, Identity
from controlplane.model.locality import Locality
from controlplane.model.proxy import Proxy, parse_node
from tests.support import genes

_MODES = ("REDIRECT", "REDIRECT", "REDIRECT", "TPROXY", "NONE")
_IPS = ("", "", "", "10.1.0.2,fd00::2", "fd00::2")
_PLACES: tuple[dict[str, str], ...] = (
    {},
    {"region": "eu", "zone": "eu-a", "sub_zone": "rack1"},
    {"region": "eu", "zone": "eu-b"},
    {"region": "us", "zone": "us-a"},
)


class Connected:
    """A proxy that is there: its view, and the maps of every type that it is served."""

    def __init__(self, graph: Graph, proxy: Proxy, on_demand: bool) -> None:
        self.proxy = proxy
        self.on_demand = on_demand
        self.asks: set[Ask] = set()
        self.view = graph.lease(proxy_view, proxy)
        self.maps: dict[tuple[str, Any], Lease] = {}
        self._graph = graph

    def wanted(self) -> dict[str, Maps]:
        return feeds(self.view.value, on_demand=self.on_demand)

    def retarget(self) -> bool:
        """Lease what the view names now; whether that is something else than before."""
        wanted = {(url, where) for url, maps in self.wanted().items() for where in maps}
        new, old = wanted - self.maps.keys(), self.maps.keys() - wanted
        for url, where in new:
            self.maps[url, where] = self._graph.lease(where[0], *where[1])
        for one in old:
            self.maps.pop(one).release()
        return bool(new or old)

    def leases(self) -> Iterator[Lease]:
        yield self.view
        yield from self.maps.values()

    def resources(self) -> dict[str, dict[str, Resource]]:
        """What it is served; a name that is in two maps of a type is a fault."""
        served: dict[str, dict[str, Resource]] = {}
        for (url, _), lease in self.maps.items():
            found = served.setdefault(url, {})
            for name in lease.keys():
                assert name not in found, f"{self.proxy.id}: {name} is in two maps of {url}"
                found[name] = lease.get(name)
        return served

    def release(self) -> None:
        for lease in self.leases():
            lease.release()
        self.maps.clear()


def drawn_proxy(pick: random.Random, node: genes.Raw, near: Sequence[genes.Raw]) -> Proxy:
    """A proxy like this one; it may stand elsewhere, listen in another way, or be of a pod that is `near`."""
    id, metadata, place = node["id"], dict(node.get("metadata", {})), node.get("locality", {})
    if pick.random() < 0.6:
        metadata["INTERCEPTION_MODE"] = pick.choice(_MODES)
        metadata["DNS_CAPTURE"] = pick.choice(("true", "false"))
        metadata["NETWORK"] = pick.choice(("", "", "n1", "n2"))
        metadata["INSTANCE_IPS"] = pick.choice(_IPS)
        metadata["HTTP_PROXY_PORT"] = pick.choice(("", "", "15007"))
        place = pick.choice(_PLACES)
        found = [labels for raw in near for labels in genes.labels_in(raw)]
        if found and pick.random() < 0.5:
            metadata["LABELS"] = pick.choice(found)
    pods = [raw for raw in near if raw["kind"] == "Pod" and raw.get("status", {}).get("podIP")]
    if pods and pick.random() < 0.5:
        pod = pick.choice(pods)
        name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace", "default")
        at = pod["status"]["podIP"]
        id = f"{id.partition('~')[0]}~{at}~{name}.{namespace}~{namespace}.svc.cluster.local"
        metadata["NAMESPACE"] = namespace
    proxy = parse_node(id, metadata, Locality(**place))
    if "identity" in node or pick.random() < 0.5:
        return replace(proxy, identity=Identity("cluster.local", proxy.namespace, "app"))
    return proxy


def holder_of(proxy: Proxy) -> Holder | None:
    """Whose certificate it is given; None where it has no identity."""
    return None if proxy.identity is None else Holder(proxy.identity, proxy.id)


def traits(one: Connected) -> Iterator[str]:
    """What kind of proxy this is, in words that a test may ask for."""
    proxy, metadata = one.proxy, one.proxy.metadata
    yield proxy.type
    yield f"mode {metadata.interception_mode}"
    yield "with identity" if proxy.identity else "without identity"
    yield from (
        name
        for name, on in (
            ("dns capture", metadata.dns_capture),
            ("network", bool(metadata.network)),
            ("place", bool(proxy.locality.region)),
            ("two families", len(proxy.ips) > 1),
            ("on demand", one.on_demand),
            ("http proxy", metadata.http_proxy_port is not None),
        )
        if on
    )
