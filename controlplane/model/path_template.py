"""Path templates: /users/{*}/posts/{**}, where {*} is one segment of a path and {**} any number of them.

Envoy's URI templates write them without braces.  One that Envoy cannot read ends the Envoy (1.40), so that
none may reach it
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/path/match/uri_template/v3/uri_template_match.proto).
"""

from __future__ import annotations

import re

_LITERAL = re.compile(r"[-a-zA-Z0-9._~%!$&'()+,;:@=]*")
_LONGEST = 256
ONE, ANY = "{*}", "{**}"


def is_template(path: str) -> bool:
    """Whether a path is a template and no plain text."""
    return ONE in path or ANY in path


def template_fault(path: str) -> str | None:
    """Why this is no template, None where it is one."""
    if not path.startswith("/"):
        return "does not begin with /"
    if "//" in path:
        return "has nothing between two slashes"
    if len(envoy_template(path)) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    segments = path[1:].split("/")
    for segment in segments:
        if segment not in (ONE, ANY) and not _LITERAL.fullmatch(segment):
            return f"has {segment!r} between slashes, which is neither plain text nor {ONE} nor {ANY}"
    operators = [segment for segment in segments if segment in (ONE, ANY)]
    if ANY in operators[:-1]:
        return f"has another operator after {ANY}"
    return None


def envoy_template(path: str) -> str:
    """The template as Envoy writes it."""
    return path.replace(ANY, "**").replace(ONE, "*")
