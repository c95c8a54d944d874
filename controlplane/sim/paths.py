"""What Envoy makes of paths: before it looks at them, and when it sends them on."""

from __future__ import annotations

import re
from typing import Any

from controlplane.sim import regexes
from controlplane.sim.request import Request

_ESCAPED_SLASH = re.compile(r"%2f|%5c", re.IGNORECASE)
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEEP, _REJECT, _REDIRECT, _FORWARD = 1, 2, 3, 4
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def without_query(path: str) -> str:
    """What routes look at."""
    return re.split(r"[?#]", path, maxsplit=1)[0]


def normalized(manager: Any, path: str) -> tuple[str, int]:
    """The path as the connection manager reads it, and a status where it answers at once (0: it does not)."""
    if "#" in path:
        return path, 400
    plain, mark, query = path.partition("?")
    how = manager.path_with_escaped_slashes_action
    redirect = 0
    if how in (_REJECT, _REDIRECT, _FORWARD) and _ESCAPED_SLASH.search(plain):
        if how == _REJECT:
            return path, 400
        redirect = 307 if how == _REDIRECT else 0
        plain = _ESCAPED_SLASH.sub(lambda found: "/" if found[0].lower() == "%2f" else "\\", plain)
    if manager.normalize_path.value:
        plain = _canonical(plain)
    if manager.merge_slashes:
        plain = re.sub("/{2,}", "/", plain)
    return plain + mark + query, redirect


def _canonical(path: str) -> str:
    """Dot segments resolved, backslashes turned, what need not be escaped unescaped."""

    def unescaped(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if char in _PLAIN else found[0]

    segments = _ESCAPED.sub(unescaped, path).replace("\\", "/").split("/")[1:]
    kept: list[str] = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
            continue
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def rewritten(action: Any, match: Any, path: str) -> str:
    """The path that a RouteAction or a RedirectAction makes of one that `match` (a RouteMatch) accepts."""
    plain = without_query(path)
    if action.prefix_rewrite:
        return str(action.prefix_rewrite) + plain[_matched(match, plain) :] + path[len(plain) :]
    if action.HasField("regex_rewrite"):
        regex = action.regex_rewrite
        return regexes.replaced(regex.pattern.regex, plain, regex.substitution) + path[len(plain) :]
    return path


def _matched(match: Any, plain: str) -> int:
    """How much of the path is what matched: a prefix of it, or all."""
    how = match.WhichOneof("path_specifier")
    return len(getattr(match, how)) if how in ("prefix", "path_separated_prefix") else len(plain)


def location(redirect: Any, match: Any, request: Request) -> str:
    """Where a RedirectAction sends the client."""
    scheme = "https" if redirect.https_redirect else redirect.scheme_redirect or request.scheme
    port = f":{redirect.port_redirect}" if redirect.port_redirect else ""
    host = redirect.host_redirect or _same_host(request, scheme, port)
    if redirect.path_redirect:
        path = redirect.path_redirect
        if not redirect.strip_query and "?" not in path:
            path += request.path[len(without_query(request.path)) :]
    else:
        path = rewritten(redirect, match, request.path)
        if redirect.strip_query:
            path = without_query(path)
    return f"{scheme}://{host}{port}/{path.removeprefix('/')}"


def _same_host(request: Request, scheme: str, port: str) -> str:
    """The host of the request, without a port that another one replaces or that goes without saying."""
    host = request.authority
    name, colon, number = host.rpartition(":")
    if not colon or not number.isdecimal():
        return host
    changed = scheme != request.scheme
    if port or (changed and colon + number == _DEFAULT_PORTS.get(request.scheme)):
        return name
    return host
