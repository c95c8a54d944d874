"""The rows of the settings that are about end users' tokens: where the keys of their issuers come from."""

from __future__ import annotations

from controlplane.base import parse
from controlplane.base.networks import networks
from controlplane.settings.option import DURATION, Option

_FETCHERS = {"false": "istiod", "istiod": "istiod", "true": "hybrid", "hybrid": "hybrid", "envoy": "envoy"}


def key_fetching(text: str) -> str:
    """Who fetches key sets: "istiod", "hybrid" or "envoy"; "false" and "true" are older words for two."""
    if text not in _FETCHERS:
        raise ValueError
    return _FETCHERS[text]


REQUESTS: tuple[Option, ...] = (
    Option(
        "jwt_pub_key_refresh_interval",
        parse.positive_duration,
        "20m",
        f"{DURATION}, above 0",
        "how often key sets of RequestAuthentications are fetched, unless their provider asks for less",
        "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL",
    ),
    Option(
        "jwt_enable_remote_jwks",
        key_fetching,
        "false",
        "false (or istiod), hybrid (or true), envoy",
        "who fetches key sets: the control plane; proxies, from services of the mesh; proxies, from anywhere",
        "PILOT_JWT_ENABLE_REMOTE_JWKS",
    ),
    Option(
        "blocked_cidrs_in_jwks_uris",
        networks,
        "",
        'CIDRs such as "10.0.0.0/8,fc00::/7"',
        "where key sets are not fetched from, beside link-local addresses and metadata services",
        "BLOCKED_CIDRS_IN_JWKS_URIS",
    ),
    Option(
        "jwks_root_file",
        parse.optional_file,
        "",
        "an existing file of certificates in PEM form",
        "authorities that are trusted, beside the system's, where key sets are fetched",
    ),
)
