"""Gateways: what a proxy at the edge listens to, from all the Gateways that select it.

Gateways are merged, the oldest first, port by port.  Plaintext HTTP servers of a port are one listener with
one set of routes.  Encrypted servers of a port are told apart by the name that a client asks for; a name
belongs to the first who claims it.  Who comes later with another family of protocols, or with names that
are taken, is refused: the earlier ones stay as they are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from controlplane.graph import Plan, Q, Source, contains, group, keyed, query
from controlplane.mesh.features import features
from controlplane.mesh.inbound import Workload, translated_ports
from controlplane.mesh.projections import Edge
from controlplane.model.checks import UNIX
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import gateways
from controlplane.model.kinds.gateway import ASKING, ENCRYPTED, HTTP, PASSING, Gateway, Server

Family = Literal["http", "tls", "tcp"]
Manner = Literal["http", "https", "tls", "passed", "auto", "tcp"]
"""What a server does with connections: speaks HTTP, ends TLS around HTTP or around anything, passes TLS on by
the name that is asked for (as rules say, or to the very cluster of that name), or passes everything on."""
_SPEAKS: dict[Family, str] = {"http": "plaintext HTTP", "tls": "TLS", "tcp": "TCP"}

RESERVED = frozenset({15000, 15021, 15090})
"""Ports of every proxy itself: administration, readiness and statistics."""
_UNPRIVILEGED = 1024
_AUTHORITIES = "-cacert"
"""After the name of a Secret, where the authorities in it are meant, or in another of that name."""


class Socket(NamedTuple):
    """Where a gateway listens: an address, "" for every one, or a Unix socket (its port is 0)."""

    bind: str
    port: int


class ServerId(NamedTuple):
    """One server of a Gateway; they sort by the age of the Gateway."""

    created: str
    namespace: str
    name: str
    number: int

    @property
    def gateway(self) -> Key:
        """The Gateway."""
        return Key(self.namespace, self.name)


class Refusal(NamedTuple):
    """A server that loses to an earlier one, its `rival`; None: it could have no connections anyhow."""

    server: ServerId
    why: str
    rival: ServerId | None = None


class Served(NamedTuple):
    """The servers of one socket, the oldest first, and those that are refused.

    `automatic`: the hosts of those that pass connections on to the cluster that they name, all together, for
    where two of them overlap their chains would be the same, and Envoy wants each once.
    """

    family: Family
    servers: tuple[ServerId, ...]
    refused: tuple[Refusal, ...] = ()
    automatic: tuple[str, ...] = ()


def edge_of(q: Q, workload: Workload, *, privileged: bool) -> Edge:
    """What the listeners of a workload at the edge depend on."""
    every: tuple[Labels, ...] = q.keys(q.part(_selectors, (), True))
    found = tuple(selector for selector in every if contains(workload.labels, selector))
    within = workload.namespace if q(features).scope_gateway_to_namespace else ""
    return Edge(found, translated_ports(q, workload) if found else (), privileged, within)


@keyed
def _selectors(q: Q) -> Plan:
    """True -> the selectors of all Gateways; there are few, however many Gateways there are."""
    return group(q.members(gateways), _selector)


@query
def _selector(q: Q, key: Key) -> tuple[tuple[bool, Labels], ...]:
    found: Gateway | None = q.get(gateways, key)
    return () if found is None else ((True, found.selector),)


def server_of(q: Q, id: ServerId) -> Server | None:
    """The server as it is written; None where the Gateway has changed meanwhile."""
    found: Gateway | None = q.get(gateways, id.gateway)
    return found.servers[id.number] if found is not None and id.number < len(found.servers) else None


def manner_of(server: Server) -> Manner:
    """What a server does with connections."""
    protocol, tls = server.port.protocol, server.tls
    if protocol in HTTP:
        return "http"
    if protocol not in ENCRYPTED or tls is None:
        return "tcp"
    if tls.mode in PASSING:
        return "auto" if tls.mode == "AUTO_PASSTHROUGH" else "passed"
    return "https" if protocol == "HTTPS" else "tls"


def credentials_of(server: Server) -> tuple[str, ...]:
    """The names of the Secrets with the certificates of a server."""
    if server.tls is None:
        return ()
    single = server.tls.credential_name
    return server.tls.credential_names if single is None else (single,)


def authorities_of(server: Server) -> str | None:
    """The name of the Secret with the authorities of clients' certificates; None where it is no Secret."""
    if server.tls is None or server.tls.mode not in ASKING:
        return None
    said = server.tls.ca_cert_credential_name
    if said is not None and said.endswith(_AUTHORITIES):
        return said
    names = credentials_of(server) if said is None else (said,)
    return names[0] + _AUTHORITIES if names else None


def server_names(server: Server) -> tuple[str, ...]:
    """The names by which clients choose an encrypted server, sorted; ("*",) for one that takes any."""
    hosts = {host.host for host in server.hosts}
    return ("*",) if "*" in hosts else tuple(sorted(hosts))


@keyed
def sockets(q: Q, edge: Edge) -> Plan:
    """Socket -> the servers that want it."""
    return group(selecting(q, edge), _sockets, edge._replace(selectors=()))


def selecting(q: Q, edge: Edge) -> tuple[Source, ...]:
    """The collections that hold the Gateways whose selectors a proxy satisfies."""
    return tuple(q.bucket(gateways, "selector", selector) for selector in edge.selectors)


def speaks_for(edge: Edge, key: Key) -> bool:
    """Whether a Gateway counts for a proxy, if its selector does: where they are told to stay at home."""
    return edge.within in ("", key.namespace)


@query
def _sockets(q: Q, edge: Edge, key: Key) -> tuple[tuple[Socket, ServerId], ...]:
    found: Gateway | None = q.get(gateways, key)
    if found is None or not speaks_for(edge, key):
        return ()
    targets = dict(edge.ports)
    out = []
    for index, server in enumerate(found.servers):
        socket = Socket(server.bind, targets.get(server.port.number, server.port.number))
        if socket.bind.startswith(UNIX) or may_listen(socket.port, privileged=edge.privileged):
            out.append((socket, ServerId(found.meta.created, *key, index)))
    return tuple(out)


def may_listen(port: int, *, privileged: bool) -> bool:
    """Whether a proxy can have a listener there."""
    return port not in RESERVED and (privileged or port >= _UNPRIVILEGED)


class _Claim(NamedTuple):
    """What a server asks for on its socket."""

    family: Family
    names: tuple[str, ...]
    automatic: bool = False


@query
def _claim(q: Q, id: ServerId) -> _Claim | None:
    server = server_of(q, id)
    if server is None:
        return None
    manner = manner_of(server)
    if manner == "http" or manner == "tcp":
        return _Claim(manner, ())
    return _Claim("tls", server_names(server), manner == "auto")


@query
def served(q: Q, edge: Edge, socket: Socket) -> Served:
    """Which servers have a socket, after conflicts."""
    family: Family | None = None
    owners: dict[str, ServerId] = {}
    kept: list[ServerId] = []
    refused: list[Refusal] = []
    automatic: set[str] = set()
    for id in q.keys(q.part(sockets, (edge,), socket)):
        claim = q(_claim, id)
        if claim is None:
            continue
        family = family or claim.family
        refusal = _conflict(id, claim, family, kept, owners)
        if refusal is not None:
            refused.append(refusal)
            continue
        kept.append(id)
        owners.update((name, id) for name in claim.names)
        if claim.automatic:
            automatic.update(claim.names)
    return Served(family or "http", tuple(kept), tuple(refused), tuple(sorted(automatic)))


def _conflict(
    id: ServerId, claim: _Claim, family: Family, kept: list[ServerId], owners: dict[str, ServerId]
) -> Refusal | None:
    """Why a server cannot be served beside the earlier ones; None where it can."""
    first = kept[0] if kept else None
    if first is not None and claim.family != family:
        return Refusal(id, f"{_named(first)} speaks {_SPEAKS[family]} on this port", first)
    if first is not None and claim.family == "tcp":
        return Refusal(id, f"{_named(first)} has all connections to this port", first)
    taken = next((name for name in claim.names if name in owners), None)
    if taken is None:
        return None
    return Refusal(id, f"{_named(owners[taken])} serves {taken} on this port", owners[taken])


def _named(id: ServerId) -> str:
    return f"Gateway {id.namespace}/{id.name}"


@keyed
def automatic(q: Q, edge: Edge) -> Plan:
    """True -> the hosts for which a gateway passes connections on to the cluster that they name."""
    return group(q.map(sockets, edge), _automatic, edge)


@query
def _automatic(q: Q, edge: Edge, socket: Socket) -> tuple[tuple[bool, str], ...]:
    return tuple((True, host) for host in q(served, edge, socket).automatic)
