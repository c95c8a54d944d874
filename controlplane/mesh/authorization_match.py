"""From the values that users write to tests: wildcards, SPIFFE IDs, claims.

A value is compared whole; "a*" is a prefix, "*a" a suffix and "*" anything that is not empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from controlplane.mesh.authorization_ir import AllOf, AnyOf, How, Match, Not, Subject, Test
from controlplane.model.path_template import envoy_template, is_template

_LOCAL = "cluster.local"
_SCHEME = "spiffe://"
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


def text(subject: Subject, value: str, path: tuple[str, ...] = ()) -> Test:
    """A value with or without a wildcard."""
    if value == "*":
        return Test(subject, "present", "", path)
    if value.startswith("*"):
        return Test(subject, "suffix", value[1:], path)
    if value.endswith("*"):
        return Test(subject, "prefix", value[:-1], path)
    return Test(subject, "exact", value, path)


def any_of(matches: Iterable[Match]) -> Match:
    """At least one of these (there is one)."""
    flat = (one for match in matches for one in (match.of if isinstance(match, AnyOf) else (match,)))
    found = tuple(dict.fromkeys(flat))
    return found[0] if len(found) == 1 else AnyOf(found)


def all_of(matches: Iterable[Match]) -> Match:
    """Each of these."""
    found = tuple(matches)
    return found[0] if len(found) == 1 else AllOf(found)


def none_of(matches: Iterable[Match]) -> Match:
    """Not one of these (there is one)."""
    return Not(any_of(matches))


def path(value: str) -> Test:
    """The path of a request, without its query."""
    if is_template(value):
        return Test("path", "template", envoy_template(value))
    return text("path", value)


def principal(value: str, trust_domains: tuple[str, ...]) -> Match:
    """A peer by its identity, which is its SPIFFE ID without the scheme."""
    return any_of(_peer(one) for one in _with_aliases(value, trust_domains))


def _peer(value: str) -> Test:
    found = text("peer", value)
    if found.how == "present":
        return found
    if found.how == "suffix":
        return Test("peer", "regex", f"{_SCHEME}.*{_escaped(found.value)}")
    return Test("peer", found.how, _SCHEME + found.value)


def _with_aliases(value: str, trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """The value once for each trust domain, if it names one of the mesh's.

    "cluster.local" is the mesh's own trust domain, however that is called
    (https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/).
    """
    domain, slash, rest = value.partition("/")
    if not slash or domain == "*":
        return (value,)
    if domain.startswith("*"):
        known = any(one.endswith(domain[1:]) for one in trust_domains)
        return (value, *(f"{one}/{rest}" for one in trust_domains)) if known else (value,)
    if domain != _LOCAL and domain not in trust_domains:
        return (value,)
    return tuple(f"{one}/{rest}" for one in trust_domains)


def namespace(value: str) -> Test:
    """A peer by its namespace."""
    return Test("peer", "regex", f"{_SCHEME}[^/]+/ns/{_segment(value)}/sa/[^/]+")


def service_account(value: str, own: str) -> Test:
    """A peer by "namespace/name", or by a name in the policy's own namespace."""
    place, slash, account = value.rpartition("/")
    home = _escaped(place if slash else own)
    return Test("peer", "regex", f"{_SCHEME}[^/]+/ns/{home}/sa/{_escaped(account)}")


def trust_domain(value: str) -> Test:
    """A peer by the first part of its SPIFFE ID."""
    if "*" not in (value[0], value[-1]):
        return Test("peer", "prefix", f"{_SCHEME}{value}/")
    return Test("peer", "regex", f"{_SCHEME}{_segment(value)}/.+")


def _segment(value: str) -> str:
    """The pattern for one part of a SPIFFE ID, which holds no slash."""
    found = text("peer", value)
    if found.how == "present":
        return "[^/]+"
    literal = _escaped(found.value)
    return {"prefix": f"{literal}[^/]*", "suffix": f"[^/]*{literal}"}.get(found.how, literal)


def _escaped(literal: str) -> str:
    """A literal as a pattern of RE2, which refuses needless escapes of letters and blanks."""
    return _SPECIAL.sub(r"\\\1", literal)


def request_principal(value: str) -> Match:
    """A token's owner, "<iss>/<sub>", neither of them empty.

    Both claims may hold slashes, so there is one test for each way to cut the value in two.
    """
    found = text("claim", value)
    cuts = [(found.value[:at], found.value[at + 1 :]) for at, char in enumerate(found.value) if char == "/"]
    if found.how == "present":
        ways = [_owner(("prefix", ""), ("prefix", ""))]
    elif found.how == "prefix":
        ways = [_owner(("exact", left), ("prefix", right)) for left, right in cuts if left]
        ways.append(_owner(("prefix", found.value), ("prefix", "")))
    elif found.how == "suffix":
        ways = [_owner(("suffix", left), ("exact", right)) for left, right in cuts if right]
        ways.append(_owner(("prefix", ""), ("suffix", found.value)))
    else:
        ways = [_owner(("exact", left), ("exact", right)) for left, right in cuts if left and right]
    return any_of(ways) if ways else NEVER


def _owner(issuer: tuple[How, str], subject: tuple[How, str]) -> Match:
    return AllOf((_claim("iss", *issuer), _claim("sub", *subject)))


def _claim(name: str, how: How, value: str) -> Test:
    return Test("claim", how if value else "present", value, (name,))


def metadata(value: str, path: tuple[str, ...]) -> Test:
    """What a filter noted: a string, or with "[value]" a list that holds such a string."""
    if len(value) > 2 and value[0] == "[" and value[-1] == "]":
        return text("listed", value[1:-1], path)
    return text("metadata", value, path)


NEVER: Match = Not(AllOf())
