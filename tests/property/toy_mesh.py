"""A toy mesh that uses every feature of the graph at once; for the state machine."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Labels, Plan, Q, Table, each, flat, group, keyed, query


class Key(NamedTuple):
    namespace: str
    name: str


class Svc(NamedTuple):
    ports: tuple[int, ...]
    selector: Labels | None
    host: str
    boom: bool = False


class Pod(NamedTuple):
    ip: str
    labels: Labels


svcs = Table(
    "svcs",
    indexes={"namespace": lambda k, v: (k.namespace,), "host": lambda k, v: (v.host,)},
    selector=lambda v: v.selector,
    namespace=lambda k: k.namespace,
)
pods = Table(
    "pods",
    indexes={"namespace": lambda k, v: (k.namespace,), "ip": lambda k, v: (v.ip,)},
    labels=lambda v: v.labels,
    namespace=lambda k: k.namespace,
)


@query
def service(q: Q, key: Key) -> Svc | None:
    value: Svc | None = q.get(svcs, key)
    if value is not None and value.boom:
        raise ValueError(f"{key} is broken")
    return value


@query
def endpoints(q: Q, key: Key) -> tuple[str, ...]:
    value = q(service, key)
    if value is None or value.selector is None:
        return ()
    return tuple(sorted(q.get(pods, p).ip for p in q.select(pods, key.namespace, value.selector)))


@keyed
def assignments(q: Q, namespace: str) -> Plan:
    return each(q.bucket(svcs, "namespace", namespace), endpoints)


@query
def owners(q: Q, key: Key) -> tuple[Key, ...]:
    """The services that select a pod."""
    pod = q.get(pods, key)
    return () if pod is None else q.selecting(svcs, key.namespace, pod.labels)


@keyed
def owned(q: Q, namespace: str) -> Plan:
    return each(q.bucket(pods, "namespace", namespace), owners)


@query
def port_items(q: Q, scope: str, key: Key) -> tuple[tuple[int, Key], ...]:
    value = q(service, key)
    if value is None or (scope == "public" and value.host.startswith("private")):
        return ()
    return tuple((port, key) for port in value.ports)


@keyed
def ports(q: Q, scope: str) -> Plan:
    """Services of two namespaces by port: a union of sources, grouped."""
    return group((q.bucket(svcs, "namespace", "a"), q.bucket(svcs, "namespace", "b")), port_items, scope)


@query
def vhost(q: Q, port: int, key: Key) -> str | None:
    value = q(service, key)
    if value is None:
        return None
    rivals = q.index(svcs, "host", value.host)
    return f"{value.host}:{port}" if rivals[:1] == (key,) else None


@keyed
def vhosts(q: Q, scope: str, port: int) -> Plan:
    return each(q.part(ports, (scope,), port), vhost, port)


@query
def route(q: Q, scope: str, port: int) -> str:
    return "|".join(q.values(vhosts, scope, port))


@keyed
def routes(q: Q, scope: str) -> Plan:
    """A map over the keys of a map, whose children join other maps."""
    return each(q.map(ports, scope), route, scope)


@query
def names(q: Q, key: Key) -> tuple[tuple[str, str], ...]:
    value = q(service, key)
    if value is None:
        return ()
    return (
        (value.host, f"{key.namespace}/{key.name}"),
        *((f"{value.host}:{p}", key.name) for p in value.ports),
    )


@keyed
def directory(q: Q) -> Plan:
    """A union in which members contend for keys."""
    return flat(q.members(svcs), names)


@query
def listener(q: Q, scope: str, port: int) -> str | None:
    """Reads an entry of a map, present or not, and a group's items."""
    items = q.keys(q.part(ports, (scope,), port))
    text = q.at(routes, (scope,), port)
    return None if not items else f"{port} {len(items)} {text}"


@keyed
def listeners(q: Q, scope: str) -> Plan:
    return each(q.map(ports, scope), listener, scope)


@query
def switch(q: Q) -> str:
    """A dynamic dependency: what is read depends on what was read."""
    first = q.get(svcs, Key("a", "s0"))
    if first is None:
        return f"absent {len(q.keys(q.map(directory)))}"
    return f"{q.at(listeners, ('public',), first.ports[0] if first.ports else 80)}"


@keyed
def either(q: Q) -> Plan:
    """A plan that changes with the input: other sources, another child."""
    if q.get(svcs, Key("b", "s0")) is None:
        return each(q.bucket(svcs, "namespace", "a"), endpoints)
    return each(q.bucket(svcs, "namespace", "b"), owned_hosts, "b")


@query
def owned_hosts(q: Q, prefix: str, key: Key) -> str | None:
    value = q(service, key)
    return None if value is None else prefix + value.host


@query
def peek(q: Q, key: Key) -> str:
    """Reads one entry of a map and nothing else."""
    return str(q.at(assignments, (key.namespace,), key))


LEASES = (
    (peek, (Key("a", "s1"),)),
    (assignments, ("a",)),
    (assignments, ("b",)),
    (owned, ("a",)),
    (routes, ("public",)),
    (routes, ("all",)),
    (listeners, ("public",)),
    (directory, ()),
    (either, ()),
    (switch, ()),
)
