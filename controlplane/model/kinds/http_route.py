"""The HTTP rule of a VirtualService: where a matched request goes."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.kinds.http_effects import CorsPolicy, Headers, HTTPFaultInjection, HTTPRetry
from controlplane.model.kinds.http_match import HTTPMatchRequest


@dataclass(frozen=True, slots=True)
class Destination:
    """A service (its host as written, short names included), a subset of it and its service port."""

    host: str
    subset: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class HTTPRouteDestination:
    """A destination and its share; weights are relative to their sum, the weight of a lone one is moot."""

    destination: Destination
    weight: int = 0
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class HTTPMirrorPolicy:
    """A destination that gets a copy; `percentage` 0..100, None = all."""

    destination: Destination
    percentage: float | None = None


@dataclass(frozen=True, slots=True)
class HTTPRedirect:
    """An answer that sends the client elsewhere.

    `derive_port` is FROM_PROTOCOL_DEFAULT, FROM_REQUEST_PORT or None and excludes `port`;
    `redirect_code` None = 301.
    """

    uri: str | None = None
    prefix_rewrite: str | None = None
    authority: str | None = None
    port: int | None = None
    derive_port: str | None = None
    scheme: str | None = None
    redirect_code: int | None = None


@dataclass(frozen=True, slots=True)
class HTTPDirectResponse:
    """A fixed answer; `body` is the string or the decoded bytes, None = no body."""

    status: int
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class RegexRewrite:
    """Replace what `match` (RE2) finds in the path by `rewrite`."""

    match: str
    rewrite: str


@dataclass(frozen=True, slots=True)
class HTTPRewrite:
    """Change path and authority before forwarding; `uri` and `uri_regex_rewrite` exclude each other."""

    uri: str | None = None
    authority: str | None = None
    uri_regex_rewrite: RegexRewrite | None = None


@dataclass(frozen=True, slots=True)
class Delegate:
    """The VirtualService whose rules stand in for this one; `namespace` None = the root's own."""

    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class HTTPRoute:
    """One rule: the first whose `match` holds (any of them; none = always) is applied.

    `mirrors` holds mirror and mirrorPercentage too, where those older fields are used.
    `timeout` is in nanoseconds, None and 0 = no timeout.
    """

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: int | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None
