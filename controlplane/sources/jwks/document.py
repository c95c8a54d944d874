"""From a URI to a key set: directly, or by way of an issuer's metadata (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from controlplane.model.jwks import DISCOVERY, read_key_set, uri_fault
from controlplane.sources.jwks.fetch import Fetched, Fetcher, FetchFailed


class Keys(NamedTuple):
    """A key set as text, and for how many seconds its provider vouches for it (None: not said)."""

    text: str
    max_age: float | None


async def keys_at(fetcher: Fetcher, uri: str, within: float) -> Keys:
    """The key set of a URI; one of an issuer's metadata leads to another.  Raises FetchFailed."""
    found = await fetcher.fetch(uri, within)
    if not uri.endswith(DISCOVERY):
        return _keys(found)
    return _keys(await fetcher.fetch(_jwks_uri(uri, found.body), within))


def _keys(found: Fetched) -> Keys:
    keys = read_key_set(found.body)
    if not keys.text:
        place, fault = keys.faults[0]
        raise FetchFailed(f"answers with what is no key set: {place or 'it'} {fault}")
    return Keys(keys.text, found.max_age)


def _jwks_uri(uri: str, body: bytes) -> str:
    """`jwks_uri` of the metadata, which must be the issuer's own (section 4.3)."""
    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, Mapping):
        raise FetchFailed("answers with what is no metadata of an issuer")
    issuer = metadata.get("issuer")
    if not isinstance(issuer, str) or issuer.rstrip("/") + DISCOVERY != uri:
        raise FetchFailed("answers with the metadata of another issuer")
    target = metadata.get("jwks_uri")
    if not isinstance(target, str) or uri_fault(target):
        raise FetchFailed("answers with metadata whose jwks_uri is no http or https URI")
    if urlsplit(uri).scheme == "https" and urlsplit(target).scheme != "https":
        raise FetchFailed("answers with metadata whose jwks_uri is less safe than itself")
    return target
