"""What a client does: whom it dials, whether it speaks TLS, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple

Way = Literal["outbound", "inbound", "direct"]
"""How a connection comes to the proxy.

outbound  the workload dials, and is redirected to the proxy's outbound port
inbound   somebody dials the workload, and is redirected to the proxy's inbound port
direct    the proxy itself is dialled: a gateway, or a sidecar whose listeners bind by themselves
"""


class Tls(NamedTuple):
    """The TLS that a client speaks; `identity` is the URI in its certificate, "" when it shows none."""

    sni: str = ""
    alpn: tuple[str, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A JSON Web Token: its claims, whether its signature and times are good, and the header that has it."""

    claims: Mapping[str, Any]
    valid: bool = True
    header: str = "authorization"


@dataclass(frozen=True, slots=True)
class Http:
    """A request; `path` with its query, each of `headers` with its value or a tuple of its values.

    TypeError for headers of another shape.
    """

    path: str = "/"
    authority: str = ""
    method: str = "GET"
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    http2: bool = False
    token: Token | None = None

    def __post_init__(self) -> None:
        shaped = isinstance(self.headers, Mapping) and all(
            isinstance(values, (str, tuple)) for values in self.headers.values()
        )
        if not shaped:
            raise TypeError('headers map names to values, like {"end-user": "jason", "accept": ("a", "b")}')


def fields_of(http: Http) -> dict[str, tuple[str, ...]]:
    """The values of each header, by its name in lower case."""
    return {
        name.lower(): (values,) if isinstance(values, str) else values
        for name, values in http.headers.items()
    }


@dataclass(frozen=True, slots=True)
class Call:
    """A connection to an address and port, and what is said on it; "unix:/path" is an address, too.

    ValueError for an address that is none.
    Without `http` the client says something else; `silent`: it waits for the server to begin.  `announced` is
    the client's address where a load balancer in front says it first (PROXY protocol), "" where none does.
    """

    address: str
    port: int
    http: Http | None = None
    tls: Tls | None = None
    way: Way = "outbound"
    source: str = "127.0.0.1"
    silent: bool = False
    announced: str = ""

    def __post_init__(self) -> None:
        for address in (self.address, self.source):
            if not address.startswith("unix:"):
                ip_address(address)
