"""What Envoy demands of a configuration as a whole, whoever made it: checked on the messages alone.

No name refers to something that never comes; no two virtual hosts of a route configuration share a domain;
no two chains of a listener match the same; no two listeners are at one address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.message import Message

from controlplane.envoy import pb
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import BY_URL, CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE

Served = Mapping[str, Mapping[str, Resource]]
_REFERS = {CLUSTER: ENDPOINT, LISTENER: ROUTE}


def faults(served: Served) -> list[str]:
    """What is wrong with what a proxy is served, a line each; VirtualHosts on demand are no part of it."""
    found: list[str] = []
    for url, resources in served.items():
        target = _REFERS.get(url, "")
        for name, one in resources.items():
            here = f"{BY_URL[url].short} {name}"
            found += [f"{here}: {text}" for text in _inner(url, one.body)]
            if target:
                lacking = sorted(set(one.refs) - served.get(target, {}).keys())
                found += [f"{here}: no {BY_URL[target].short} {ref}" for ref in lacking]
            lacking = sorted(_discovered(url, one.body) - served.get(EXTENSION, {}).keys())
            found += [f"{here}: no ecds {ref}" for ref in lacking]
    addresses = [(at, name) for name, one in served.get(LISTENER, {}).items() for at in _addresses(one.body)]
    for at in _twice(at for at, _ in addresses):
        found.append(f"lds {[name for where, name in addresses if where == at]}: all at {at}")
    return found


@lru_cache(maxsize=20_000)
def _inner(url: str, body: bytes) -> tuple[str, ...]:
    message: Any = pb.parse(url, body)
    if url == LISTENER:
        return tuple(_of_listener(message))
    if url == ROUTE:
        return tuple(_of_hosts(message.virtual_hosts))
    return ()


def _of_hosts(hosts: Iterable[Any]) -> Iterator[str]:
    listed = list(hosts)
    for name in _twice(host.name for host in listed):
        yield f"two virtual hosts {name}"
    for domain in _twice(domain.lower() for host in listed for domain in host.domains):
        yield f"domain {domain} in {[host.name for host in listed if domain in map(str.lower, host.domains)]}"
    for host in listed:
        if not host.domains:
            yield f"virtual host {host.name} has no domains"
        for route in host.routes:
            weights = route.route.weighted_clusters.clusters
            if weights and not sum(one.weight.value for one in weights):
                yield f"{host.name} {route.name}: all weights are 0"


def _of_listener(listener: Any) -> Iterator[str]:
    chains = list(listener.filter_chains)
    if not chains and not listener.HasField("default_filter_chain") and not listener.listener_filters:
        yield "has no filter chains"
    matches = [chain.filter_chain_match.SerializeToString(deterministic=True) for chain in chains]
    for match in _twice(matches):
        yield f"chains {[c.name for c, m in zip(chains, matches, strict=True) if m == match]} match the same"
    for chain in chains:
        if not chain.filters:
            yield f"chain {chain.name} has no filters"
        for one in chain.filters:
            config = one.typed_config
            if config.type_url.endswith("HttpConnectionManager"):
                manager: Any = pb.parse(config.type_url, config.value)
                yield from _of_manager(chain.name, manager)


def _of_manager(chain: str, manager: Any) -> Iterator[str]:
    yield from _of_hosts(manager.route_config.virtual_hosts)
    names = [one.name for one in manager.http_filters]
    if not names or names[-1] != "envoy.filters.http.router":
        yield f"chain {chain}: the last HTTP filter is {names[-1:]}"


def _twice(values: Iterable[Any]) -> list[Any]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


@lru_cache(maxsize=20_000)
def _addresses(body: bytes) -> tuple[str, ...]:
    listener = pb.listener.Listener.FromString(body)
    every = [listener.address, *(one.address for one in listener.additional_addresses)]
    return tuple(
        f"{one.socket_address.protocol} {one.socket_address.address}:{one.socket_address.port_value}"
        for one in every
        if one.HasField("socket_address")
    )


@lru_cache(maxsize=20_000)
def _discovered(url: str, body: bytes) -> frozenset[str]:
    """The names of the extension configurations that a resource asks for."""
    if url != LISTENER or (b"config_discovery" not in body and b"\x2a" not in body):
        return frozenset()
    return frozenset(_asked(pb.parse(url, body)))


def _asked(message: Message) -> Iterator[str]:
    if isinstance(message, any_pb2.Any):
        if message.type_url.endswith("HttpConnectionManager"):
            yield from _asked(pb.parse(message.type_url, message.value))
        return
    for field, value in message.ListFields():
        if field.name == "config_discovery":
            yield message.name
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for part in value if field.is_repeated else [value]:
                yield from _asked(part)
