"""Who is on the other end of a call, and by what it is known.

A server has doors of three kinds, and what a door may believe differs.  Whatever the credential was, the
answer is one `Caller`, and everything after that looks at the caller only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias
from urllib.parse import unquote

from controlplane.model.identity import Identity

PASSTHROUGH = ipaddress.ip_address("127.0.0.6")
"""An Envoy's own address for traffic that it passes on: who calls from here is anybody."""


class Door(StrEnum):
    """The kinds of ports.

    gRPC's Python server cannot ask for a client certificate that may be missing, so those who have one get
    a port of their own.
    """

    PLAINTEXT = "plaintext"
    """A Unix socket or a port without TLS."""
    TOKEN = "token"
    """TLS; the caller presents a bearer token."""
    CERTIFICATE = "certificate"
    """TLS with a client certificate that one of the trusted roots has signed."""


Credential: TypeAlias = Literal["token", "certificate", "loopback", ""]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `identity` None is nobody.

    `expires` is when the credential ends, in Unix seconds, None is never.  `private` says that nobody can
    listen in between: TLS, a Unix socket or the loopback.  `token` and `issued` are the id and the time of
    a token of our own, for revocation.  `pod` is the pod to which the credential is bound ("": to none).
    """

    identity: Identity | None
    expires: float | None
    private: bool
    credential: Credential
    token: str = ""
    issued: float = 0.0
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a call brings along; nothing in it is checked yet.

    `peer` is in gRPC's form.  `authorization` holds all values of that header.  `certificate` is the PEM of
    the client's leaf, of which TLS has checked the signature ("" without one).
    """

    door: Door
    peer: str
    authorization: tuple[str, ...] = field(default=(), repr=False)
    certificate: bytes = field(default=b"", repr=False)

    @property
    def private(self) -> bool:
        """Whether nobody can listen in between."""
        return self.door is not Door.PLAINTEXT or is_local_peer(self.peer)


class CallContext(Protocol):
    """What gRPC knows about a call."""

    def peer(self) -> str: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]: ...


def presented(door: Door, call: CallContext) -> Presented:
    """What this call brings along."""
    metadata = call.invocation_metadata() or ()
    authorization = tuple(
        value if isinstance(value, str) else value.decode("utf-8", "replace")
        for key, value in metadata
        if key == "authorization"
    )
    certificate = next(iter(call.auth_context().get("x509_pem_cert") or ()), b"")
    return Presented(door, call.peer(), authorization, certificate)


def is_local_peer(peer: str) -> bool:
    """Whether gRPC's name of a peer ("ipv4:127.0.0.1:9", "unix:") is on this machine."""
    kind, _, rest = unquote(peer).partition(":")
    if kind in ("unix", "unix-abstract"):
        return True
    host = rest.rpartition(":")[0].strip("[]")
    return kind in ("ipv4", "ipv6") and is_loopback(host)


def host_of(peer: str) -> str:
    """gRPC's name of a peer without its port, which is another at each call: "10.0.0.9", "[::1]", "unix:"."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's; an IPv4 one may come dressed as IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback and address != PASSTHROUGH


class Authenticator(Protocol):
    """Who knows callers by what they present."""

    async def identify(self, presented: Presented) -> Caller:
        """Who calls; raises `Unauthenticated` when what was presented is not good, or nothing was where
        something is demanded."""
        ...

    def objection(self, caller: Caller) -> str:
        """Why a caller that was let in may not stay; "" when it may.  Asked every second: it is quick."""
        ...

    def trust_domain(self) -> str:
        """The mesh's own trust domain."""
        ...
