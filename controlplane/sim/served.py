"""What a proxy was served, read from bytes or from the configuration dump of a running Envoy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

_SECTIONS = {
    "ListenersConfigDump": (LISTENER, ("static_listeners", "dynamic_listeners"), "listener"),
    "ClustersConfigDump": (CLUSTER, ("static_clusters", "dynamic_active_clusters"), "cluster"),
    "RoutesConfigDump": (ROUTE, ("dynamic_route_configs",), "route_config"),
    "EndpointsConfigDump": (ENDPOINT, ("dynamic_endpoint_configs",), "endpoint_config"),
    "EcdsConfigDump": (EXTENSION, ("ecds_filters",), "ecds_filter"),
    "SecretsConfigDump": (SECRET, ("static_secrets", "dynamic_active_secrets"), ""),
}


@dataclass(frozen=True, slots=True)
class Served:
    """The messages of one proxy by their names; endpoints by the name under which clusters ask for them.

    `secrets` are the names of those that are there, None where that is not known.  `addresses` are the
    workload's own: what it says to itself never reaches its proxy.
    """

    listeners: Mapping[str, Any] = field(default_factory=dict)
    routes: Mapping[str, Any] = field(default_factory=dict)
    clusters: Mapping[str, Any] = field(default_factory=dict)
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    virtual_hosts: Mapping[str, Any] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] | None = None
    addresses: frozenset[str] = frozenset()


def served(resources: Mapping[str, Mapping[str, bytes]], addresses: Iterable[str] = ()) -> Served:
    """From serialized resources: type URL -> name -> bytes.  Secrets are looked at by name alone.

    KeyError for a type of resource that is none of xDS; what is no message of its type raises DecodeError.
    """
    found = {url: {name: pb.parse(url, body) for name, body in _of(resources, url)} for url in _PARSED}
    secrets = frozenset(resources[SECRET]) if SECRET in resources else None
    return Served(
        found[LISTENER],
        found[ROUTE],
        found[CLUSTER],
        found[ENDPOINT],
        found[VIRTUAL_HOST],
        found[EXTENSION],
        secrets,
        frozenset(addresses),
    )


_PARSED = (LISTENER, ROUTE, CLUSTER, ENDPOINT, VIRTUAL_HOST, EXTENSION)


def _of(resources: Mapping[str, Mapping[str, bytes]], url: str) -> Iterator[tuple[str, bytes]]:
    return iter(resources.get(url, {}).items())


def dumped(dump: Mapping[str, Any], addresses: Iterable[str] = ()) -> Served:
    """From the JSON of `/config_dump?include_eds` of an Envoy: what it runs with at that moment.

    Listeners and clusters that are still warming are left out, as Envoy leaves them out.
    """
    found: dict[str, dict[str, Any]] = {url: {} for url, _, _ in _SECTIONS.values()}
    for section in dump.get("configs", ()):
        kind = section.get("@type", "").rpartition(".")[2]
        url, lists, inner = _SECTIONS.get(kind, ("", (), ""))
        for entry in (entry for name in lists for entry in section.get(name, ())):
            body = _active(entry).get(inner) if inner else entry
            if body is not None:
                name = body.get("cluster_name") or body.get("name", "")
                found[url][name] = _message(url, body) if inner else None
    return Served(
        found[LISTENER],
        found[ROUTE],
        found[CLUSTER],
        found[ENDPOINT],
        extensions=found[EXTENSION],
        secrets=frozenset(found[SECRET]),
        addresses=frozenset(addresses),
    )


def _message(url: str, body: Mapping[str, Any]) -> Any:
    for name in _types(body):
        # Reading an Any takes the stub of what is in it.
        pb.find(name.rpartition("/")[2])
    return pb.from_dump(url, body)


def _types(value: Any) -> Iterator[str]:
    """The type URLs of all messages inside a JSON value."""
    if isinstance(value, Mapping):
        if "@type" in value:
            yield value["@type"]
        for inner in value.values():
            yield from _types(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _types(inner)


def _active(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A dynamic listener is one level deeper; one that is only warming or draining has no active state."""
    if any(name in entry for name in ("active_state", "warming_state", "draining_state", "error_state")):
        state: Mapping[str, Any] = entry.get("active_state", {})
        return state if "listener" in state else entry
    return entry
