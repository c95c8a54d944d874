"""Which of Envoy's objects a patch of an EnvoyFilter is for: by proxy, listener, routes or cluster.

Everything that is said must hold; "" and 0 say nothing, as in Istio.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from controlplane.model.checks import check_regex
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader
from controlplane.model.regex import regex_fault

CONTEXTS = ("ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT")
ROUTE_ACTIONS = ("ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE")
HTTP_MANAGERS = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
"""The one network filter that has filters of its own, by both of its names."""

LISTENER_CLASS = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER")
ROUTE_CLASS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")


class ProxyMatch(NamedTuple):
    """`version` is a regular expression that is searched for in ISTIO_VERSION; `metadata` has to be equal."""

    version: str = ""
    metadata: Labels = ()


class FilterChainMatch(NamedTuple):
    """A filter chain; `filter` is one of its network filters, `sub_filter` one of that one's HTTP filters."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    destination_port: int = 0
    transport_socket: str = ""
    filter: str = ""
    sub_filter: str = ""


class ListenerMatch(NamedTuple):
    """A listener, and what is in it."""

    name: str = ""
    port: int = 0
    listener_filter: str = ""
    chain: FilterChainMatch | None = None


class RouteMatch(NamedTuple):
    """A route by its name and by what it does, a word of ROUTE_ACTIONS."""

    name: str = ""
    action: str = "ANY"


class VirtualHostMatch(NamedTuple):
    """A virtual host; `domain` is one of its domains, literally."""

    name: str = ""
    domain: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(NamedTuple):
    """A route configuration; `port_name` and `gateway` ("namespace/name") are for gateways."""

    name: str = ""
    port: int = 0
    port_name: str = ""
    gateway: str = ""
    host: VirtualHostMatch | None = None


class ClusterMatch(NamedTuple):
    """A cluster; `name` alone decides where it is given."""

    name: str = ""
    service: str = ""
    subset: str = ""
    port: int = 0


class Match(NamedTuple):
    """Everything that a patch asks of its object; at most one of the last three."""

    context: str = "ANY"
    proxy: ProxyMatch = ProxyMatch()
    listener: ListenerMatch | None = None
    route: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None


ANYTHING = Match()


def read_match(r: Reader, apply_to: str) -> Match:
    """A patch's `match`."""
    wanted = _wanted(apply_to)
    for name in ("listener", "routeConfiguration", "cluster"):
        if r.has(name) and wanted and name != wanted:
            r.error(name, f"cannot match what applyTo {apply_to} is for", f"use {wanted} in its place")
    if r.value("waypoint") is not None:
        r.warn("waypoint", "matches nothing: there are no waypoints here", "use sidecars or gateways")
    found = Match(
        context=r.enum("context", CONTEXTS, "ANY"),
        proxy=r.message("proxy", _read_proxy) or ProxyMatch(),
        listener=r.message("listener", lambda inner: _read_listener(inner, apply_to)),
        route=r.message("routeConfiguration", _read_route_configuration),
        cluster=r.message("cluster", _read_cluster),
    )
    if found.context == "WAYPOINT":
        r.warn("context", "WAYPOINT matches nothing: there are no waypoints here", "use another context")
    return found


def _wanted(apply_to: str) -> str:
    """The match that goes with an applyTo; "" where none does."""
    if apply_to in LISTENER_CLASS:
        return "listener"
    if apply_to in ROUTE_CLASS:
        return "routeConfiguration"
    return "cluster" if apply_to == "CLUSTER" else ""


def _read_proxy(r: Reader) -> ProxyMatch:
    found = ProxyMatch(r.text("proxyVersion"), r.labels("metadata"))
    check_regex(r, "proxyVersion", found.version)
    if regex_fault(found.version):
        return found
    try:
        re.compile(found.version)
    except re.error as error:
        r.error(
            "proxyVersion", f"{shorten(found.version)}: {error}", "write letters, digits, . * + ? | ( ) only"
        )
    return found


def _read_listener(r: Reader, apply_to: str) -> ListenerMatch:
    if r.string("portName") is not None:
        r.warn("portName", "is not compared, as in Istio", "use portNumber")
    return ListenerMatch(
        name=r.text("name"),
        port=r.port("portNumber") or 0,
        listener_filter=r.text("listenerFilter"),
        chain=r.message("filterChain", lambda inner: _read_chain(inner, apply_to)),
    )


def _read_chain(r: Reader, apply_to: str) -> FilterChainMatch:
    filter, sub_filter = r.message("filter", lambda inner: _read_filter(inner, apply_to)) or ("", "")
    if filter and apply_to in ("LISTENER", "FILTER_CHAIN", "LISTENER_FILTER"):
        r.warn("filter", f"has no effect with applyTo {apply_to}", "remove it")
    protocols = (one.strip() for one in r.text("applicationProtocols").split(","))
    return FilterChainMatch(
        name=r.text("name"),
        sni=r.text("sni"),
        transport_protocol=r.text("transportProtocol"),
        application_protocols=tuple(one for one in protocols if one),
        destination_port=r.port("destinationPort") or 0,
        transport_socket=r.text("transportSocket"),
        filter=filter,
        sub_filter=sub_filter,
    )


def _read_filter(r: Reader, apply_to: str) -> tuple[str, str]:
    name = r.required("name", "name the network filter")
    sub_filter = r.message("subFilter", lambda inner: inner.required("name", "name the HTTP filter"))
    if sub_filter is not None and apply_to != "HTTP_FILTER":
        r.error("subFilter", "goes with applyTo HTTP_FILTER only", "remove it, or patch HTTP_FILTER")
    if sub_filter is not None and name not in HTTP_MANAGERS:
        r.error("subFilter", f"only {HTTP_MANAGERS[0]} has HTTP filters", f"write name: {HTTP_MANAGERS[0]}")
    return name, sub_filter or ""


def _read_route_configuration(r: Reader) -> RouteConfigurationMatch:
    return RouteConfigurationMatch(
        name=r.text("name"),
        port=r.port("portNumber") or 0,
        port_name=r.text("portName"),
        gateway=r.text("gateway"),
        host=r.message("vhost", _read_host),
    )


def _read_host(r: Reader) -> VirtualHostMatch:
    return VirtualHostMatch(r.text("name"), r.text("domainName"), r.message("route", _read_route))


def _read_route(r: Reader) -> RouteMatch:
    return RouteMatch(r.text("name"), r.enum("action", ROUTE_ACTIONS, "ANY"))


def _read_cluster(r: Reader) -> ClusterMatch:
    return ClusterMatch(
        name=r.text("name"),
        service=r.text("service"),
        subset=r.text("subset"),
        port=r.port("portNumber") or 0,
    )
