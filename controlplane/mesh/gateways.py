"""Gateways: what a proxy at the edge listens to, from all the Gateways that select it.

Gateways are merged, the oldest first, port by port.  Plaintext HTTP servers of a port are one listener with
one set of routes.  Encrypted servers of a port are told apart by the name that a client asks for; a name
belongs to the first who claims it.  Who comes later with another family of protocols, or with names that
are taken, is refused: the earlier ones stay as they are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from controlplane.graph import Plan, Q, contains, group, keyed, query
from controlplane.mesh.hosts import is_partial
from controlplane.mesh.inbound import Workload, translated_ports
from controlplane.mesh.projections import Edge
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import gateways
from controlplane.model.kinds.gateway import ASKING, ENCRYPTED, HTTP, PASSING, Gateway, Server

Family = Literal["http", "tls", "tcp"]
Manner = Literal["http", "https", "tls", "passed", "tcp"]
"""What a server does with connections: speaks HTTP, ends TLS around HTTP or around anything, passes TLS on by
the name that is asked for, or passes everything on."""
_SPEAKS: dict[Family, str] = {"http": "plaintext HTTP", "tls": "TLS", "tcp": "TCP"}
_TCP = ("TCP", "MONGO", "REDIS", "MYSQL")

RESERVED = frozenset({15000, 15021, 15090})
"""Ports of every proxy itself: administration, readiness and statistics."""
_UNPRIVILEGED = 1024
_AUTHORITIES = "-cacert"
"""After the name of a Secret, where the authorities in it are meant, or in another of that name."""


class Socket(NamedTuple):
    """Where a gateway listens: "" = every address."""

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
    """A server that loses to an earlier one."""

    server: ServerId
    why: str


class Served(NamedTuple):
    """The servers of one socket, the oldest first, and those that are refused."""

    family: Family
    servers: tuple[ServerId, ...]
    refused: tuple[Refusal, ...] = ()


def edge_of(q: Q, workload: Workload, *, privileged: bool) -> Edge:
    """What the listeners of a workload at the edge depend on."""
    every: tuple[Labels, ...] = q.keys(q.part(_selectors, (), True))
    found = tuple(selector for selector in every if contains(workload.labels, selector))
    return Edge(found, translated_ports(q, workload) if found else (), privileged)


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


def without_effect(server: Server) -> tuple[str, str] | None:
    """(field, why) of a server that is not served; None for one that is."""
    protocol, tls = server.port.protocol, server.tls
    if protocol in ENCRYPTED and tls is not None and tls.mode == "AUTO_PASSTHROUGH":
        return "tls.mode", "AUTO_PASSTHROUGH is not served yet"
    if protocol in (*HTTP, *ENCRYPTED, *_TCP):
        return None
    return "port.protocol", f"{protocol} is not served by gateways"


def manner_of(server: Server) -> Manner:
    """What a server does with connections."""
    protocol, tls = server.port.protocol, server.tls
    if protocol in HTTP:
        return "http"
    if protocol not in ENCRYPTED or tls is None:
        return "tcp"
    if tls.mode in PASSING:
        return "passed"
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
    if server.tls.ca_cert_credential_name is not None:
        return server.tls.ca_cert_credential_name
    names = credentials_of(server)
    return names[0] + _AUTHORITIES if names else None


def server_names(server: Server) -> tuple[str, ...]:
    """The names by which clients choose an encrypted server, sorted; ("*",) for one that takes any.

    Proxies know wildcards of whole labels only.
    """
    hosts = {host.host for host in server.hosts}
    return ("*",) if "*" in hosts else tuple(sorted(host for host in hosts if not is_partial(host)))


@keyed
def sockets(q: Q, edge: Edge) -> Plan:
    """Socket -> the servers that want it."""
    selecting = tuple(q.bucket(gateways, "selector", selector) for selector in edge.selectors)
    return group(selecting, _sockets, edge.ports, edge.privileged)


@query
def _sockets(
    q: Q, ports: tuple[tuple[int, int], ...], privileged: bool, key: Key
) -> tuple[tuple[Socket, ServerId], ...]:
    found: Gateway | None = q.get(gateways, key)
    if found is None:
        return ()
    targets = dict(ports)
    out = []
    for index, server in enumerate(found.servers):
        socket = Socket(server.bind, targets.get(server.port.number, server.port.number))
        if without_effect(server) is None and may_listen(socket.port, privileged=privileged):
            out.append((socket, ServerId(found.meta.created, *key, index)))
    return tuple(out)


def may_listen(port: int, *, privileged: bool) -> bool:
    """Whether a proxy can have a listener there."""
    return port not in RESERVED and (privileged or port >= _UNPRIVILEGED)


class _Claim(NamedTuple):
    """What a server asks for on its socket."""

    family: Family
    names: tuple[str, ...]


@query
def _claim(q: Q, id: ServerId) -> _Claim | None:
    server = server_of(q, id)
    if server is None:
        return None
    manner = manner_of(server)
    if manner == "http" or manner == "tcp":
        return _Claim(manner, ())
    return _Claim("tls", server_names(server))


@query
def served(q: Q, edge: Edge, socket: Socket) -> Served:
    """Which servers have a socket, after conflicts."""
    family: Family | None = None
    owners: dict[str, ServerId] = {}
    kept: list[ServerId] = []
    refused: list[Refusal] = []
    for id in q.keys(q.part(sockets, (edge,), socket)):
        claim = q(_claim, id)
        if claim is None:
            continue
        family = family or claim.family
        why = _conflict(claim, family, kept, owners)
        if why:
            refused.append(Refusal(id, why))
            continue
        kept.append(id)
        owners.update((name, id) for name in claim.names)
    return Served(family or "http", tuple(kept), tuple(refused))


def _conflict(claim: _Claim, family: Family, kept: list[ServerId], owners: dict[str, ServerId]) -> str:
    """Why a server cannot be served beside the earlier ones; "" where it can."""
    if claim.family != family:
        first = kept[0]
        return f"Gateway {first.namespace}/{first.name} speaks {_SPEAKS[family]} on this port"
    if claim.family == "tcp" and kept:
        return f"Gateway {kept[0].namespace}/{kept[0].name} has all connections to this port"
    if claim.family == "tls" and not claim.names:
        return "none of its hosts can be told from others by name"
    taken = next((name for name in claim.names if name in owners), None)
    if taken is None:
        return ""
    return f"Gateway {owners[taken].namespace}/{owners[taken].name} serves {taken} on this port"
