"""What a route does with a request: it goes to shares of clusters, elsewhere, or is answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from controlplane.sim.clusters import hosts_of
from controlplane.sim.outcome import End, Step
from controlplane.sim.paths import location, rewritten
from controlplane.sim.regexes import replaced
from controlplane.sim.request import Found, Request
from controlplane.sim.walk import CannotTell, Walk, config_of, unpacked

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_APPEND, _ADD_ABSENT, _OVERWRITE, _OVERWRITE_PRESENT = range(4)
_REDIRECTS = {0: 301, 1: 302, 2: 303, 3: 307, 4: 308}


def answer_or_forward(walk: Walk, request: Request, found: Found, dialled: str) -> None:
    """The end of a request at its route."""
    route = found.route
    how = route.WhichOneof("action")
    name = route.name
    if how == "redirect":
        where = location(route.redirect, route.match, request)
        status = _REDIRECTS[route.redirect.response_code]
        walk.finish(End("answer", status, details="direct_response", route=name, location=where))
    elif how == "direct_response":
        body = route.direct_response.body
        text = body.inline_bytes or body.inline_string.encode()
        walk.finish(
            End("answer", route.direct_response.status, details="direct_response", route=name, body=text)
        )
    elif how == "route":
        for probability, cluster, more in _clusters(walk, request, route.route):
            _forward(walk, request, found, (probability, cluster, more), dialled)
        walk.left = 0.0
    else:
        raise CannotTell(f"a route that does {how}")


def _clusters(walk: Walk, request: Request, action: Any) -> Iterator[tuple[float, str, Any | None]]:
    """The clusters that a RouteAction names, their shares, and what is said of each."""
    how = action.WhichOneof("cluster_specifier")
    if how == "cluster":
        yield 1.0, action.cluster, None
    elif how == "cluster_header":
        yield 1.0, request.header(action.cluster_header.lower()), None
    elif how == "weighted_clusters":
        shares = action.weighted_clusters.clusters
        whole = sum(one.weight.value for one in shares)
        for one in shares:
            if one.weight.value:
                yield one.weight.value / whole, one.name or request.header(one.cluster_header.lower()), one
    else:
        raise CannotTell(f"a cluster by {how}")


def _forward(
    walk: Walk, request: Request, found: Found, share: tuple[float, str, Any | None], dialled: str
) -> None:
    probability, name, more = share
    # All shares are of what came here: what one of them takes is not missing to the next.
    left = walk.left
    end = replace(
        to_cluster(walk, name, dialled, "http"),
        route=found.route.name,
        mirrors=tuple(one.cluster for one in found.route.route.request_mirror_policies),
    )
    if end.kind == "http":
        http2 = _speaks_http2(walk.served.clusters[name], request)
        end = replace(_sent(request, found, more, end), http2=http2)
    cluster = walk.served.clusters.get(name)
    config = "" if cluster is None else config_of(cluster.metadata)
    why = f"{probability:.0%} of the requests" if more is not None else "the route's cluster"
    walk.finish(end, probability, Step("cluster", name, _why(why, end), config))
    walk.left = left


def _why(why: str, end: End) -> str:
    return f"{why}; {end.details}" if end.details else f"{why}; {len(end.hosts)} hosts"


def to_cluster(walk: Walk, name: str, dialled: str, kind: str) -> End:
    """A request ("http") or a connection ("tcp") for a cluster: the hosts, or what is said without any."""
    cluster = walk.served.clusters.get(name)
    web = kind == "http"
    if cluster is None:
        status = 503 if web else None
        return End("answer" if web else "closed", status, "NC", "cluster_not_found", name)
    hosts = hosts_of(walk, cluster, dialled)
    if not hosts:
        return End("answer" if web else "closed", 503 if web else None, "UH", "no_healthy_upstream", name)
    return End("http" if web else "tcp", cluster=name, hosts=hosts)


def _sent(request: Request, found: Found, more: Any | None, end: End) -> End:
    """The request as the server gets it."""
    route = found.route
    action = route.route
    levels = (more, route, found.virtual_host, found.configuration)
    headers = changed(request.headers, (level for level in levels if level is not None))
    path = rewritten(action, route.match, request.path)
    authority = _authority(request, action, more, end)
    kept = {name: values for name, values in headers.items() if not name.startswith(":")}
    return replace(end, path=path, authority=authority, headers=kept)


def _speaks_http2(cluster: Any, request: Request) -> bool:
    """Whether a cluster's servers are spoken to in HTTP/2; some are in what the client speaks."""
    if _OPTIONS not in cluster.typed_extension_protocol_options:
        return bool(cluster.HasField("http2_protocol_options"))
    options = unpacked(cluster.typed_extension_protocol_options[_OPTIONS])
    if options is None:
        raise CannotTell(f"the protocol options of {cluster.name}")
    how = options.WhichOneof("upstream_protocol_options")
    if how == "explicit_http_config":
        return bool(options.explicit_http_config.HasField("http2_protocol_options"))
    if how == "use_downstream_protocol_config":
        return request.http.http2
    return False


def _authority(request: Request, action: Any, more: Any | None, end: End) -> str:
    if more is not None and more.host_rewrite_literal:
        return str(more.host_rewrite_literal)
    how = action.WhichOneof("host_rewrite_specifier")
    if how == "host_rewrite_literal":
        return str(action.host_rewrite_literal)
    if how == "host_rewrite_header":
        return request.header(action.host_rewrite_header.lower()) or request.authority
    if how == "host_rewrite_path_regex":
        rule = action.host_rewrite_path_regex
        return replaced(rule.pattern.regex, request.path.partition("?")[0], rule.substitution)
    if how == "auto_host_rewrite" and action.auto_host_rewrite.value:
        return end.hosts[0].address.rpartition(":")[0]
    return request.authority


def changed(
    headers: dict[str, tuple[str, ...]], levels: Iterable[Any], side: str = "request"
) -> dict[str, tuple[str, ...]]:
    """The headers after what weighted cluster, route, virtual host and configuration say, in that order."""
    found = dict(headers)
    for level in levels:
        for name in getattr(level, f"{side}_headers_to_remove"):
            found.pop(name.lower(), None)
        for option in getattr(level, f"{side}_headers_to_add"):
            _add(found, option)
    return found


def _add(headers: dict[str, tuple[str, ...]], option: Any) -> None:
    name, value = option.header.key.lower(), option.header.value.replace("%%", "%")
    there = name in headers
    how = option.append_action
    if how == _APPEND:
        headers[name] = (*headers.get(name, ()), value)
    elif (how == _ADD_ABSENT and not there) or how == _OVERWRITE or (how == _OVERWRITE_PRESENT and there):
        headers[name] = (value,)
