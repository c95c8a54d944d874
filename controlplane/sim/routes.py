"""Which virtual host and which route a request has, by Envoy's own order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from controlplane.sim import regexes
from controlplane.sim.matchers import header_matches, metadata_matches, query_matches
from controlplane.sim.paths import without_query
from controlplane.sim.request import Found, Request
from controlplane.sim.walk import CannotTell, Walk, config_of, kind_of, unpacked

_PORT = re.compile(r":\d*$")
_PER = {0: 100, 1: 10_000, 2: 1_000_000}
_ALL = 2  # VirtualHost.TlsRequirementType


def find_route(walk: Walk, configuration: Any, request: Request) -> Found | None:
    """The route of a request, None without one; steps say why."""
    host = request.authority.lower()
    if configuration.ignore_port_in_host_matching:
        host = _PORT.sub("", host)
    found = _virtual_host(_hosts(walk, configuration), host)
    if found is None:
        why = f"{configuration.name} has none for {host or 'no name'}"
        if configuration.HasField("vhds"):
            walk.doubt("virtual host", "", f"{why}, and asks for it")
        else:
            walk.step("virtual host", "", why)
        return None
    virtual_host, domain = found
    walk.step("virtual host", virtual_host.name, f"its domain {domain} is the best for {host or 'no name'}")
    for number, route in enumerate(virtual_host.routes):
        if _matches(walk, route, request):
            name = route.name or f"route {number}"
            walk.step("route", name, said(route.match), config_of(route.metadata))
            return Found(configuration, virtual_host, route)
    walk.step("route", "", f"none of the {len(virtual_host.routes)} routes of {virtual_host.name} matches")
    return Found(configuration, virtual_host, None)


def secured(found: Found, request: Request) -> bool:
    """Whether the virtual host answers a plaintext request with a redirect to HTTPS."""
    return bool(found.virtual_host.require_tls) and request.scheme != "https"


def _hosts(walk: Walk, configuration: Any) -> list[Any]:
    own = list(configuration.virtual_hosts)
    if configuration.HasField("vhds"):
        # They come when somebody asks for them; those that came are named after their configuration.
        prefix = f"{configuration.name}/"
        own += (one for name, one in sorted(walk.served.virtual_hosts.items()) if name.startswith(prefix))
    return own


def _virtual_host(hosts: Iterable[Any], host: str) -> tuple[Any, str] | None:
    """Exact names first, then "*.com" by length, then "shop.*" by length, then "*"."""
    best: tuple[tuple[int, int], Any, str] | None = None
    for one in hosts:
        for domain in one.domains:
            rank = _rank(domain.lower(), host)
            if rank is not None and (best is None or rank > best[0]):
                best = (rank, one, domain)
    return None if best is None else best[1:]


def _rank(domain: str, host: str) -> tuple[int, int] | None:
    if domain == "*":
        return (0, 0)
    if domain.startswith("*"):
        tail = domain[1:]
        return (2, len(tail)) if len(host) > len(tail) and host.endswith(tail) else None
    if domain.endswith("*"):
        head = domain[:-1]
        return (1, len(head)) if len(host) > len(head) and host.startswith(head) else None
    return (3, 0) if domain == host else None


def _matches(walk: Walk, route: Any, request: Request) -> bool:
    match = route.match
    if not _path_matches(match, request):
        return False
    if not all(header_matches(one, request.headers) for one in match.headers):
        return False
    if not all(query_matches(one, request.path) for one in match.query_parameters):
        return False
    if match.HasField("grpc") and not request.header("content-type").startswith("application/grpc"):
        return False
    if match.HasField("tls_context") and not _tls_matches(match.tls_context, request):
        return False
    if not all(metadata_matches(one, request.metadata) for one in match.dynamic_metadata):
        return False
    return _by_chance(walk, route)


def _tls_matches(wanted: Any, request: Request) -> bool:
    shown = bool(request.identity)
    if wanted.HasField("presented") and wanted.presented.value != shown:
        return False
    return not wanted.HasField("validated") or wanted.validated.value == shown


def _by_chance(walk: Walk, route: Any) -> bool:
    """A route for some of the requests only: all or none of them can be told."""
    if not route.match.HasField("runtime_fraction"):
        return True
    chance = share_of(route.match.runtime_fraction.default_value)
    if 0.0 < chance < 1.0:
        walk.doubt("route", route.name, f"takes {chance:.0%} of the requests")
    return chance > 0.0


def share_of(fraction: Any) -> float:
    """type.v3.FractionalPercent as a number up to 1."""
    return min(1.0, float(fraction.numerator) / _PER[fraction.denominator])


def _path_matches(match: Any, request: Request) -> bool:
    how = match.WhichOneof("path_specifier")
    path = without_query(request.path)
    if how == "safe_regex":
        return regexes.fully(match.safe_regex.regex, path)
    if how == "connect_matcher":
        return request.http.method == "CONNECT"
    if how == "path_match_policy":
        return _templated(match.path_match_policy.typed_config, path)
    if how is None:
        raise CannotTell("a route without a path to match")
    wanted: str = getattr(match, how)
    if match.HasField("case_sensitive") and not match.case_sensitive.value:
        wanted, path = wanted.lower(), path.lower()
    if how == "path":
        return path == wanted
    if how == "prefix":
        return path.startswith(wanted)
    return path == wanted or path.startswith(wanted + "/")


def _templated(config: Any, path: str) -> bool:
    template = unpacked(config)
    if template is None or not hasattr(template, "path_template"):
        raise CannotTell(f"a path matcher: {kind_of(config)}")
    return template_matches(template.path_template, path)


def template_matches(template: str, path: str) -> bool:
    """An Envoy URI template: "*" is one segment, "**" what is left of the path."""
    parts = (
        "[^/]+" if part == "*" else ".*" if part == "**" else re.escape(part) for part in template.split("/")
    )
    return re.fullmatch("/".join(parts), path) is not None


def said(match: Any) -> str:
    """What a RouteMatch asks for, in words."""
    how = match.WhichOneof("path_specifier")
    value = getattr(match, how) if how in ("prefix", "path", "path_separated_prefix") else how
    if how == "safe_regex":
        value = match.safe_regex.regex
    words = {"path": "is", "path_separated_prefix": "is below", "safe_regex": "matches"}
    text = f"the path {words.get(how, 'begins with')} {value}"
    more = [f"header {one.name}" for one in match.headers]
    more += [f"query {one.name}" for one in match.query_parameters]
    more += ["claims"] if match.dynamic_metadata else []
    return text + "".join(f", {one}" for one in more)
