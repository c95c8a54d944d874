"""Key sets: what the tokens of an issuer are verified with, inline in an object or fetched from a URI.

A key set is text here, canonical and of public keys alone, so that a provider which answers in another
order changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from controlplane.model.hosts import host_fault, is_address
from controlplane.model.jwk import canonical, nobodys_key, read_key

DISCOVERY = "/.well-known/openid-configuration"
"""Where an issuer says what its `jwks_uri` is (OpenID Connect Discovery 1.0, section 4)."""

NOBODYS_KEYS = canonical({"keys": [json.loads(nobodys_key())]})
"""A key set that Envoy takes and that verifies nothing: for issuers whose keys are not known."""

_MOST_KEYS = 100


class KeySet(NamedTuple):
    """A key set as canonical text, "" where no key of it can be used; `faults` by path ("keys[1]")."""

    text: str
    faults: tuple[tuple[str, str], ...] = ()


def read_key_set(text: str | bytes) -> KeySet:
    """The usable keys of a JWK set (RFC 7517, section 5).  Never raises."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return KeySet("", (("", "is no JSON"),))
    keys = raw.get("keys") if isinstance(raw, Mapping) else None
    if not isinstance(keys, list):
        return KeySet("", (("", "has no list of keys"),))
    if len(keys) > _MOST_KEYS:
        return KeySet("", (("keys", f"has more than {_MOST_KEYS} elements"),))
    read = [read_key(key) for key in keys]
    usable = sorted({key.text for key in read if key.text})
    faults = tuple((f"keys[{index}]", key.fault) for index, key in enumerate(read) if key.fault)
    if not usable:
        return KeySet("", faults or (("keys", "is empty"),))
    return KeySet('{"keys":[' + ",".join(usable) + "]}", faults)


def discovery_uri(issuer: str) -> str:
    """Where the issuer's metadata is; "" where its name is no URI that could be asked."""
    uri = issuer.rstrip("/") + DISCOVERY
    return "" if uri_fault(uri) else uri


def uri_fault(uri: str) -> str:
    """Why keys cannot be fetched from there; "" where they can."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "is no URI"
    if parts.scheme not in ("http", "https"):
        return "is no http or https URI"
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return "holds characters that a URI cannot have"
    host = parts.hostname or ""
    if not is_address(host) and (not host or host_fault(host, wildcard=False)):
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or a password, which would be shown with it"
    if port == 0:
        return "names port 0"
    return ""
