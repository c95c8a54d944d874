"""Envoy's matchers of strings, headers, queries, addresses and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from controlplane.sim import regexes
from controlplane.sim.walk import CannotTell

Headers = Mapping[str, tuple[str, ...]]


def text_matches(matcher: Any, text: str) -> bool:
    """type.matcher.v3.StringMatcher."""
    how = matcher.WhichOneof("match_pattern")
    if how == "safe_regex":
        return regexes.fully(matcher.safe_regex.regex, text)
    if how is None or how == "custom":
        raise CannotTell("a StringMatcher of its own kind")
    wanted = getattr(matcher, how)
    if matcher.ignore_case:
        wanted, text = wanted.lower(), text.lower()
    if how == "exact":
        return bool(text == wanted)
    if how == "prefix":
        return text.startswith(wanted)
    return text.endswith(wanted) if how == "suffix" else wanted in text


def header_matches(matcher: Any, headers: Headers) -> bool:
    """config.route.v3.HeaderMatcher: where a header comes several times, one of its values is enough."""
    values = headers.get(matcher.name.lower())
    how = matcher.WhichOneof("header_match_specifier")
    if how is None or how == "present_match":
        wanted = matcher.present_match if how else True
        there = values is not None or matcher.treat_missing_header_as_empty
        return bool((there == wanted) != matcher.invert_match)
    if values is None and not matcher.treat_missing_header_as_empty:
        # Neither has it the value nor, Envoy says, has it another one.
        return False
    found = any(_value_matches(matcher, how, value) for value in values or ("",))
    return found != bool(matcher.invert_match)


def _value_matches(matcher: Any, how: str, text: str) -> bool:
    if how == "string_match":
        return text_matches(matcher.string_match, text)
    if how == "safe_regex_match":
        return regexes.fully(matcher.safe_regex_match.regex, text)
    if how == "range_match":
        return _is_number(text) and matcher.range_match.start <= int(text) < matcher.range_match.end
    wanted: str = getattr(matcher, how)
    if how == "exact_match":
        return text == wanted
    if how == "prefix_match":
        return text.startswith(wanted)
    return text.endswith(wanted) if how == "suffix_match" else wanted in text


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def query_matches(matcher: Any, path: str) -> bool:
    """config.route.v3.QueryParameterMatcher: the first value of the parameter, as it was sent."""
    value = query_of(path).get(matcher.name)
    if matcher.WhichOneof("query_parameter_match_specifier") == "string_match":
        return value is not None and text_matches(matcher.string_match, value)
    return value is not None


def query_of(path: str) -> dict[str, str]:
    """The first value of each parameter; nothing is decoded."""
    _, _, query = path.partition("?")
    found: dict[str, str] = {}
    for part in filter(None, query.split("#")[0].split("&")):
        name, _, value = part.partition("=")
        found.setdefault(name, value)
    return found


def within(cidr: Any, address: str) -> bool:
    """config.core.v3.CidrRange; an address of the other family is not in it."""
    network = ip_network(f"{cidr.address_prefix}/{cidr.prefix_len.value}", strict=False)
    try:
        found = ip_address(address)
    except ValueError:
        # A socket in the file system.
        return False
    return found.version == network.version and found in network


def metadata_matches(matcher: Any, metadata: Mapping[str, Any]) -> bool:
    """type.matcher.v3.MetadataMatcher, over plain values by the names of filters."""
    value: Any = metadata.get(matcher.filter)
    for segment in matcher.path:
        value = value.get(segment.key) if isinstance(value, Mapping) else None
    return value_matches(matcher.value, value) != bool(matcher.invert)


def value_matches(matcher: Any, value: Any) -> bool:
    """type.matcher.v3.ValueMatcher over a plain value; None is what is not there."""
    how = matcher.WhichOneof("match_pattern")
    if how == "string_match":
        return isinstance(value, str) and text_matches(matcher.string_match, value)
    if how == "bool_match":
        return isinstance(value, bool) and value == matcher.bool_match
    if how == "present_match":
        return bool((value is not None) == matcher.present_match)
    if how == "null_match":
        return value is None
    if how == "list_match":
        return isinstance(value, (list, tuple)) and _any(matcher.list_match.one_of, value)
    if how == "or_match":
        return any(value_matches(one, value) for one in matcher.or_match.value_matchers)
    if how == "double_match" and matcher.double_match.WhichOneof("match_pattern") == "exact":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return bool(number and value == matcher.double_match.exact)
    raise CannotTell(f"a ValueMatcher: {how}")


def _any(matcher: Any, values: Iterable[Any]) -> bool:
    return any(value_matches(matcher, value) for value in values)
