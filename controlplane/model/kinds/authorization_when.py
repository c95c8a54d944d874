"""The attributes of a request that a condition of an AuthorizationPolicy may name.

https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from controlplane.model.checks import is_dns_label
from controlplane.model.describe import printable, shorten
from controlplane.model.hosts import is_address, is_prefix
from controlplane.model.path_template import is_template, template_fault
from controlplane.model.reader import Reader

LONGEST_PART = 320
_NO_PART = f"is no plain text of up to {LONGEST_PART} characters"
_EXPERIMENTAL = "experimental."
_INDEXED = re.compile(r"([^\[\]]+)((?:\[[^\[\]]+\])+)")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+|:[a-z]+")


class Attribute(NamedTuple):
    """An attribute by its name, and what it is looked up by: ("request.headers", ("x-team",))."""

    name: str
    keys: tuple[str, ...] = ()


def attribute_of(key: str) -> Attribute | None:
    """What a condition's key names; None where it is none of Istio's."""
    if key in _PLAIN:
        return Attribute(key)
    found = _INDEXED.fullmatch(key)
    if found is None:
        return None
    name, index = found[1], tuple(found[2][1:-1].split("]["))
    if name == "request.headers":
        return Attribute(name, index) if len(index) == 1 and _HEADER.fullmatch(index[0]) else None
    if name == "request.auth.claims" or name.startswith(f"{_EXPERIMENTAL}envoy.filters."):
        return Attribute(name, index)
    return None


def metadata_filter(attribute: Attribute) -> str | None:
    """The filter whose metadata an experimental attribute reads; None for the others."""
    return attribute.name.removeprefix(_EXPERIMENTAL) if attribute.name.startswith(_EXPERIMENTAL) else None


def check_wildcard(r: Reader, name: str, text: str) -> None:
    """Values match by prefix ("a*"), suffix ("*a") and presence ("*"): other * are plain characters."""
    if "*" in text[1:-1] or (len(text) > 1 and text[0] == text[-1] == "*"):
        remedy = "put one * at the beginning or at the end"
        r.warn(name, f"{shorten(text)} has a * that is compared as a character", remedy)


def check_part(r: Reader, name: str, text: str) -> None:
    """A peer's identity or a part of it; the longest is as long as a pattern may be for Envoy."""
    if len(text) > LONGEST_PART or not text.isascii() or not text.isprintable():
        r.error(name, _NO_PART, "write it as certificates have it")
    check_wildcard(r, name, text)


def check_account(r: Reader, name: str, text: str) -> None:
    """A service account, "namespace/name" or a name in the policy's own namespace; there are no wildcards."""
    namespace, slash, account = text.rpartition("/")
    if len(text) > LONGEST_PART or not text.isascii() or not text.isprintable():
        r.error(name, _NO_PART, "write it as certificates have it")
    elif "*" in text or not account or "/" in namespace or (slash and not is_dns_label(namespace)):
        r.error(name, f"{shorten(text)} is no service account", 'write "namespace/name"')


def check_method(r: Reader, name: str, text: str) -> None:
    """A method, which knows its case (RFC 9110, section 9.1)."""
    check_wildcard(r, name, text)
    if text != text.upper():
        upper = printable(text.upper())
        r.warn(name, f"{shorten(text)} is not how methods are written: {upper} is another", f"write {upper}")


def check_path(r: Reader, name: str, text: str) -> None:
    """A path or a template; a value that no path can have would deny, or allow, nothing."""
    if is_template(text):
        fault = template_fault(text)
        if fault:
            r.error(name, f"{shorten(text)} {fault}", "write a template like /users/{*}/posts/{**}")
        return
    check_wildcard(r, name, text)
    if "?" in text:
        r.warn(
            name, f"{shorten(text)} matches nothing: paths are compared without their query", "end it there"
        )
    elif not text.startswith(("/", "*")):
        r.warn(name, f"{shorten(text)} matches nothing: a path begins with a slash", "write /path")


def check_port(r: Reader, name: str, text: str) -> None:
    """A port number, written as a string."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        r.error(name, f"{shorten(text)} is no port", 'write a number like "8080"')


def _check_block(r: Reader, name: str, text: str) -> None:
    if not is_address(text) and not is_prefix(text):
        r.error(name, f"{shorten(text)} is no IP address or CIDR", 'write "10.0.0.0/8"')


_PLAIN: dict[str, Callable[[Reader, str, str], None]] = {
    "source.ip": _check_block,
    "remote.ip": _check_block,
    "source.namespace": check_part,
    "source.principal": check_part,
    "source.serviceAccount": check_account,
    "source.trustDomain": check_part,
    "request.auth.principal": check_wildcard,
    "request.auth.audiences": check_wildcard,
    "request.auth.presenter": check_wildcard,
    "destination.ip": _check_block,
    "destination.port": check_port,
    "connection.sni": check_wildcard,
}
KEYS = ", ".join((*_PLAIN, "request.headers[…]", "request.auth.claims[…]", "experimental.envoy.filters.…[…]"))


def condition_check(key: str) -> Callable[[Reader, str, str], None] | None:
    """How the values of a condition with this key are checked; None where there is no such key."""
    attribute = attribute_of(key)
    return None if attribute is None else _PLAIN.get(attribute.name, check_wildcard)
