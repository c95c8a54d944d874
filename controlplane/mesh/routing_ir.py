"""Routes as values: what a request meets, free of Kubernetes' and of Envoy's vocabulary.

VirtualServices are translated into these once; Envoy's bytes, the data-plane simulator and later the
gateways all read them.  Hosts are full names here, sharing percentages are resolved, rules that can
never apply to the client are gone, and defaults are filled in, so equal values mean equal behaviour.

Durations are nanoseconds, percentages floats from 0 to 100, `Labels` are sorted pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controlplane.model.keys import Labels, Ref

UNKNOWN_HOST = "UnknownService"
"""Where a destination without a host goes, as in Istio: requests fail instead of going astray."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A test of one string; "present" only asks that there is one.  Regular expressions match all of it."""

    kind: Literal["exact", "prefix", "regex", "present"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A test of the path without its query.

    "segments" is a prefix that ends at a slash (Ingress and Gateway API); `ignore_case` has no effect on
    a regex.
    """

    kind: Literal["exact", "prefix", "segments", "regex"] = "prefix"
    value: str = "/"
    ignore_case: bool = False


_EVERY_PATH = {("prefix", "/"), ("prefix", ""), ("segments", "/"), ("regex", ".*")}


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A test of a header or pseudo header (":method", ":scheme", ":authority")."""

    name: str
    text: TextMatch
    invert: bool = False
    """The header must not match; a missing header counts as an empty one, unless presence is asked."""


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """A test of a query parameter."""

    name: str
    text: TextMatch


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """A test of a claim of the request's token, or of one of its elements where it is a list.

    `path` leads to it, outermost first.  `invert`: it must not match; that holds without a token, too.
    """

    path: tuple[str, ...]
    text: TextMatch
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """All parts must hold."""

    path: PathMatch = PathMatch()
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    claims: tuple[ClaimMatch, ...] = ()

    @property
    def catches_all(self) -> bool:
        """Whether no request can pass it by, so that what follows is never reached."""
        if self.headers or self.query or self.claims:
            return False
        return (self.path.kind, self.path.value) in _EVERY_PATH


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """What happens to the headers of one direction."""

    set: Labels = ()
    add: Labels = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What happens to request and response headers."""

    request: HeaderChange = HeaderChange()
    response: HeaderChange = HeaderChange()


NO_CHANGES = HeaderChanges()


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: a service port, or a subset of it ("" = all)."""

    host: str
    port: int
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """A target and its share; weights are relative to the sum of their siblings'."""

    target: Target
    weight: int = 1
    headers: HeaderChanges = NO_CHANGES
    authority: str = ""
    """Replaces the Host header for this share; "" leaves it."""


@dataclass(frozen=True, slots=True)
class PrefixRewrite:
    """The matched prefix becomes `value`."""

    value: str


@dataclass(frozen=True, slots=True)
class RegexRewrite:
    r"""What RE2 `pattern` matches in the path becomes `substitution` (with \1 for groups)."""

    pattern: str
    substitution: str


@dataclass(frozen=True, slots=True)
class Retries:
    """A retry policy; `per_try_timeout` 0 = the route's timeout, `backoff` 0 = Envoy's default of 25 ms."""

    attempts: int
    on: str
    status_codes: tuple[int, ...] = ()
    per_try_timeout: int = 0
    backoff: int = 0
    remote_localities: bool = False
    avoid_previous_hosts: bool = True


@dataclass(frozen=True, slots=True)
class Mirror:
    """A target that gets a copy of so many percent of the requests."""

    target: Target
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class HashKey:
    """What a request is hashed on: a header, a cookie, the source address or a query parameter.

    For cookies: `ttl` None = never made by the proxy, 0 = a session cookie.
    """

    kind: Literal["header", "cookie", "source_ip", "query"]
    name: str = ""
    ttl: int | None = None
    path: str = ""
    attributes: Labels = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request on; `timeout` 0 = none; at least one destination."""

    destinations: tuple[Destination, ...]
    timeout: int = 0
    retries: Retries | None = None
    rewrite: PrefixRewrite | RegexRewrite | None = None
    authority: str = ""
    mirrors: tuple[Mirror, ...] = ()
    hash_keys: tuple[HashKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the client elsewhere; empty parts stay as requested; `port` 0 = the scheme's own."""

    code: int = 301
    scheme: str = ""
    authority: str = ""
    port: int = 0
    path: str = ""
    prefix: str = ""
    """Replaces the matched prefix; excludes `path`."""


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """Answer at once."""

    status: int
    body: bytes | None = None


Action = Forward | Redirect | DirectResponse


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults made on purpose; `delay` in nanoseconds; one of the two codes, or none, is set."""

    delay: int = 0
    delay_percent: float = 0.0
    http_status: int = 0
    grpc_status: int | None = None
    abort_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Cors:
    """Cross-origin policy; `max_age` nanoseconds or None; `allow_credentials` None = not said."""

    origins: tuple[TextMatch, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None
    allow_credentials: bool | None = None
    forward_unmatched_preflights: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """One rule: the first whose match holds answers the request."""

    name: str
    match: Match
    action: Action
    operation: str = ""
    """What traces call it: "host:port/path*"."""
    headers: HeaderChanges = NO_CHANGES
    fault: Fault | None = None
    cors: Cors | None = None
    stat_prefix: str = ""
    source: Ref | None = None
    """The VirtualService that it comes from; None for the routes that need none."""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """Who answers for some names; `domains` are unique within a route configuration."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where connections go.

    A connection takes the first rule that fits the name it asks for (`sni`, () = any, also none) and
    the address it dials (`subnets`, () = any).
    """

    destinations: tuple[Destination, ...]
    sni: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    source: Ref | None = None
