"""What a route looks at, in Envoy's words."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.filters import jwt_authn
from controlplane.mesh.routing_ir import ClaimMatch, HeaderMatch, Match, PathMatch, QueryMatch, TextMatch

_components = pb.route_components


def route_match(match: Match) -> Any:
    """A RouteMatch."""
    message = _components.RouteMatch()
    _path(message, match.path)
    message.headers.extend(_header(header) for header in match.headers)
    message.dynamic_metadata.extend(_claim(claim) for claim in match.claims)
    message.query_parameters.extend(_query(parameter) for parameter in match.query)
    return message


def string_matcher(text: TextMatch) -> Any:
    """A StringMatcher of anything but "present"."""
    message = pb.string_matcher.StringMatcher()
    if text.kind == "exact":
        message.exact = text.value
    elif text.kind == "prefix":
        message.prefix = text.value
    else:
        message.safe_regex.regex = text.value
    return message


def _path(message: Any, path: PathMatch) -> None:
    if path.kind == "exact":
        message.path = path.value
    elif path.kind == "regex":
        message.safe_regex.regex = path.value
    elif path.kind == "segments" and path.value.rstrip("/"):
        message.path_separated_prefix = path.value.rstrip("/")
    else:
        message.prefix = path.value
    if path.ignore_case:
        message.case_sensitive.value = False


def _header(header: HeaderMatch) -> Any:
    message = _components.HeaderMatcher(name=header.name, invert_match=header.invert)
    if header.text.kind == "present":
        message.present_match = True
    else:
        message.string_match.CopyFrom(string_matcher(header.text))
        # "Not this value" holds for a request without the header as well.
        message.treat_missing_header_as_empty = header.invert
    return message


def _claim(claim: ClaimMatch) -> Any:
    message = pb.metadata_matcher.MetadataMatcher(filter=jwt_authn.NAME, invert=claim.invert)
    for name in (jwt_authn.PAYLOAD, *claim.path):
        message.path.add(key=name)
    if claim.text.kind == "present":
        message.value.present_match = True
        return message
    text = string_matcher(claim.text)
    # A claim is a text or a list of texts; the token decides.
    either = message.value.or_match.value_matchers
    either.add().string_match.CopyFrom(text)
    either.add().list_match.one_of.string_match.CopyFrom(text)
    return message


def _query(parameter: QueryMatch) -> Any:
    message = _components.QueryParameterMatcher(name=parameter.name)
    if parameter.text.kind == "present":
        message.present_match = True
    else:
        message.string_match.CopyFrom(string_matcher(parameter.text))
    return message
