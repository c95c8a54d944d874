"""Envoy's messages in tests, from the JSON that its documentation writes."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.sim import Served

_ANY = "type.googleapis.com/envoy.extensions.filters."
_HCM = f"{_ANY}network.http_connection_manager.v3.HttpConnectionManager"
_TCP = f"{_ANY}network.tcp_proxy.v3.TcpProxy"
ROUTER = {"name": "router", "typed_config": {"@type": f"{_ANY}http.router.v3.Router"}}
DIRECT = 2  # OUTBOUND


def listener(**content: Any) -> Any:
    for kind in ("echo.v3.Echo", "sni_cluster.v3.SniCluster"):
        pb.find(f"envoy.extensions.filters.network.{kind}")
    return pb.from_dump(LISTENER, {"name": "l", **content})


def cluster(name: str, **content: Any) -> Any:
    return pb.from_dump(CLUSTER, {"name": name, **content})


def route_configuration(**content: Any) -> Any:
    return pb.from_dump(ROUTE, {"name": "r", **content})


def endpoints(name: str, *groups: Any) -> Any:
    return pb.from_dump(ENDPOINT, {"cluster_name": name, "endpoints": list(groups)})


def host(address: str, **content: Any) -> dict[str, Any]:
    socket = {"address": address, "port_value": 80}
    return {"endpoint": {"address": {"socket_address": socket}}, **content}


def http_filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
    pb.find(f"envoy.extensions.filters.http.{kind}")
    return {"name": name, "typed_config": {"@type": f"{_ANY}http.{kind}", **config}}


def manager(*filters: Any, **content: Any) -> dict[str, Any]:
    """A connection manager with the routes "r" by RDS."""
    config = {"@type": _HCM, "rds": {"route_config_name": "r"}, "http_filters": [*filters, ROUTER], **content}
    return {"name": "hcm", "typed_config": config}


def tcp(to: str) -> dict[str, Any]:
    return {"name": "tcp", "typed_config": {"@type": _TCP, "stat_prefix": "x", "cluster": to}}


def edge(network_filter: Any, **content: Any) -> Any:
    """A listener at 10.0.0.1:80 with one chain."""
    address = {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
    return listener(address=address, filter_chains=[{"filters": [network_filter]}], **content)


def web(*routes: Any, filters: Any = (), clusters: Any = (), **content: Any) -> Served:
    """What a proxy is served that answers HTTP at 10.0.0.1:80 by these routes; `content` is the manager's."""
    hosts = [{"name": "all", "domains": ["*"], "routes": list(routes)}]
    found = edge(manager(*filters, **content))
    configuration = route_configuration(virtual_hosts=hosts)
    return Served({"l": found}, {"r": configuration}, {one.name: one for one in clusters})


def static(name: str, *hosts: str) -> Any:
    """A cluster of these addresses."""
    groups = [{"lb_endpoints": [host(one) for one in hosts]}]
    return cluster(name, type="STATIC", load_assignment={"cluster_name": name, "endpoints": groups})
