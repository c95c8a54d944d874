"""The HTTP rule of a VirtualService: where a matched request goes."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from controlplane.model.checks import (
    check_host,
    check_lines,
    check_namespace,
    check_regex,
    check_rewrite,
    check_short_name,
    check_weights,
)
from controlplane.model.kinds.http_effects import (
    CorsPolicy,
    HTTPFaultInjection,
    HTTPRetry,
    read_cors,
    read_fault,
    read_retry,
)
from controlplane.model.kinds.http_headers import Headers, check_authority, read_headers
from controlplane.model.kinds.http_match import HTTPMatchRequest, read_http_match
from controlplane.model.reader import Reader

ACTIONS = ("route", "redirect", "directResponse", "delegate")
REDIRECT_CODES = (301, 302, 303, 307, 308)
LARGEST_BODY = 1 << 20
"""Bytes of a direct response, as in Istio."""


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


def read_http_route(r: Reader) -> HTTPRoute:
    """One rule of a VirtualService."""
    route = HTTPRoute(
        name=r.text("name"),
        match=r.messages("match", read_http_match),
        route=r.messages("route", _read_route_destination),
        redirect=r.message("redirect", _read_redirect),
        direct_response=r.message("directResponse", _read_direct_response),
        delegate=r.message("delegate", _read_delegate),
        rewrite=r.message("rewrite", _read_rewrite),
        timeout=r.duration("timeout"),
        retries=r.message("retries", read_retry),
        fault=r.message("fault", read_fault),
        mirrors=_read_mirrors(r),
        cors_policy=r.message("corsPolicy", read_cors),
        headers=r.message("headers", read_headers),
    )
    check_weights(r, "route", [destination.weight for destination in route.route])
    if route.rewrite is not None and route.rewrite.authority is not None and route.headers is not None:
        check_authority(r.inner("headers"), route.headers)
    _check_action(r)
    return route


def _check_action(r: Reader) -> None:
    """A rule does exactly one thing, and only what fits it."""
    given = [action for action in ACTIONS if r.has(action)]
    if given == ["directResponse", "delegate"]:
        # The answer is then that of the delegate's rules, which only narrow down who gets it.
        return
    if not given:
        r.error("route", "is missing", "say one of " + ", ".join(ACTIONS))
    elif len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of " + ", ".join(ACTIONS))
    elif given[0] in ("redirect", "directResponse"):
        for effect in ("rewrite", "fault"):
            if r.has(effect):
                r.error(effect, f"excludes {given[0]}", f"remove {effect} or {given[0]}")


def read_destination(r: Reader) -> Destination:
    """A Destination."""
    host = r.required("host", "name the service")
    if host == "*":
        r.error("host", "'*' is no destination", "name the service")
    check_host(r, "host", host)
    subset = r.string("subset")
    check_short_name(r, "subset", subset or "", "subset")
    return Destination(host=host, subset=subset, port=r.message("port", read_port_selector))


def read_port_selector(r: Reader) -> int:
    """A PortSelector."""
    return r.required_port("number")


def read_weighted(r: Reader) -> tuple[Destination, int]:
    """The destination and the weight of any kind of route."""
    destination = r.message("destination", read_destination)
    r.demand("destination", "name the service")
    return destination or Destination(""), r.integer("weight") or 0


def _read_route_destination(r: Reader) -> HTTPRouteDestination:
    destination, weight = read_weighted(r)
    return HTTPRouteDestination(destination, weight, r.message("headers", read_headers))


def _read_mirrors(r: Reader) -> tuple[HTTPMirrorPolicy, ...]:
    """mirrors, or the older mirror with its three ways to write a percentage."""
    mirrors = r.messages("mirrors", _read_mirror)
    mirror = r.message("mirror", read_destination)
    share = r.percent("mirrorPercentage")
    for old in ("mirrorPercent", "mirror_percent"):
        whole = r.integer(old, 0, 100)
        if share is None and whole is not None:
            share = float(whole)
    if mirror is None:
        return mirrors
    if mirrors:
        r.error("mirrors", "excludes mirror", "move the mirror into mirrors")
    return (HTTPMirrorPolicy(mirror, share),)


def _read_mirror(r: Reader) -> HTTPMirrorPolicy:
    destination = r.message("destination", read_destination)
    r.demand("destination", "name the service")
    return HTTPMirrorPolicy(destination or Destination(""), r.percent("percentage"))


def _read_redirect(r: Reader) -> HTTPRedirect:
    redirect = HTTPRedirect(
        uri=r.string("uri"),
        prefix_rewrite=r.string("prefixRewrite"),
        authority=r.string("authority"),
        port=r.port("port"),
        derive_port=r.choice("derivePort", ("FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT")),
        scheme=r.choice("scheme", ("http", "https")),
        redirect_code=r.count("redirectCode"),
    )
    check_lines(r, uri=redirect.uri, prefixRewrite=redirect.prefix_rewrite, authority=redirect.authority)
    if redirect.redirect_code not in (None, *REDIRECT_CODES):
        codes = ", ".join(map(str, REDIRECT_CODES))
        r.error("redirectCode", f"{redirect.redirect_code} is no redirect", f"use one of {codes}")
    if redirect.port is not None and redirect.derive_port is not None:
        r.error("derivePort", "excludes port", "keep one of them")
    if redirect.uri is not None and redirect.prefix_rewrite is not None:
        r.error("prefixRewrite", "excludes uri", "keep one of them")
    if redirect == HTTPRedirect(redirect_code=redirect.redirect_code):
        r.error("", "changes nothing", "say uri, prefixRewrite, authority, port or scheme")
    return redirect


def _read_direct_response(r: Reader) -> HTTPDirectResponse:
    status = r.integer("status", 200, 599)
    r.demand("status", "say an HTTP status, like 503")
    body = r.message("body", _read_body)
    if body is not None and len(body) > LARGEST_BODY:
        r.error("body", f"has {len(body)} bytes, more than {LARGEST_BODY}", "serve it from a service")
    return HTTPDirectResponse(status=status or 0, body=body)


def _read_body(r: Reader) -> bytes:
    text = r.string("string")
    encoded = r.string("bytes")
    if text is not None and encoded is not None:
        r.error("bytes", "excludes string", "keep one of them")
    if encoded is None:
        return (text or "").encode()
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        r.error("bytes", "is not base64", "encode it, or use string")
        return b""


def _read_rewrite(r: Reader) -> HTTPRewrite:
    rewrite = HTTPRewrite(
        uri=r.string("uri"),
        authority=r.string("authority"),
        uri_regex_rewrite=r.message("uriRegexRewrite", _read_regex_rewrite),
    )
    check_lines(r, uri=rewrite.uri, authority=rewrite.authority)
    if rewrite.uri is not None and rewrite.uri_regex_rewrite is not None:
        r.error("uriRegexRewrite", "excludes uri", "keep one of them")
    if rewrite == HTTPRewrite():
        r.error("", "changes nothing", "say uri, uriRegexRewrite or authority")
    return rewrite


def _read_regex_rewrite(r: Reader) -> RegexRewrite:
    pattern = r.required("match", "say what to replace")
    check_regex(r, "match", pattern)
    substitution = r.required("rewrite", "say what stands in its place")
    check_rewrite(r, "rewrite", pattern, substitution)
    return RegexRewrite(match=pattern, rewrite=substitution)


def _read_delegate(r: Reader) -> Delegate:
    delegate = Delegate(name=r.required("name", "name a VirtualService"), namespace=r.string("namespace"))
    check_namespace(r, "namespace", delegate.namespace)
    return delegate
