"""Tokens of end users: checks what RequestAuthentication asks for, and notes what a good token says.

What it notes (dynamic metadata, `payload`) is what authorization and claim-based routing read.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.filters.chain import Chain, http_filter
from controlplane.mesh.remote_keys import RemoteKeys
from controlplane.mesh.request_authentication import JwtProvider, JwtRules
from controlplane.model.duration import SECOND

NAME = "envoy.filters.http.jwt_authn"
_CACHED = 5 * 60 * SECOND

PAYLOAD = "payload"
"""The key in the filter's dynamic metadata under which the claims are."""


def build(chain: Chain) -> Any | None:
    """Where requests are served and tokens are known."""
    if not chain.jwt.providers:
        return None
    message = pb.jwt_authn.JwtAuthentication(bypass_cors_preflight=True)
    for index, provider in enumerate(chain.jwt.providers):
        _provider(message.providers[_name(index)], provider)
        # A route that was chosen before the claims were known is chosen again; only gateways route by claims.
        message.providers[_name(index)].clear_route_cache = chain.side == "gateway"
    rule = message.rules.add()
    rule.match.prefix = "/"
    _require(rule.requires, chain.jwt)
    return http_filter(NAME, message)


def _name(index: int) -> str:
    return f"origins-{index}"


def _provider(message: Any, provider: JwtProvider) -> None:
    message.issuer = provider.issuer
    message.audiences.extend(provider.audiences)
    if provider.remote is None:
        message.local_jwks.inline_string = provider.keys
    else:
        _fetch(message.remote_jwks, provider.remote)
    message.forward = provider.forward
    message.from_params.extend(provider.params)
    message.from_cookies.extend(provider.cookies)
    message.payload_in_metadata = PAYLOAD
    message.forward_payload_header = provider.payload_header
    message.normalize_payload_in_metadata.space_delimited_claims.extend(provider.space_delimited)
    for name, prefix in provider.headers:
        message.from_headers.add(name=name, value_prefix=prefix)
    for header, claim in provider.claim_headers:
        message.claim_to_headers.add(header_name=header, claim_name=claim)


def _fetch(message: Any, keys: RemoteKeys) -> None:
    """By the proxy itself, with the first token that needs them and then when they are old."""
    message.http_uri.uri = keys.uri
    if keys.service:
        message.http_uri.cluster = names.outbound_cluster(keys.port, "", keys.host)
    else:
        message.http_uri.cluster = names.key_cluster(keys.port, keys.host)
    message.http_uri.timeout.CopyFrom(pb.duration(keys.timeout))
    message.cache_duration.CopyFrom(pb.duration(_CACHED))


def _require(message: Any, rules: JwtRules) -> None:
    """No token is a good answer unless presence is required; a bad one never is.

    Several providers may look for tokens in the same place, where each refuses those of the others: one
    that accepts is enough.
    """
    names = [_name(index) for index in range(len(rules.providers))]
    required = [name for name, provider in zip(names, rules.providers, strict=True) if provider.required]
    if len(required) == 1:
        message.provider_name = required[0]
    elif required:
        for name in required:
            message.requires_all.requirements.add(provider_name=name)
    elif len(names) == 1:
        _optional(message, names[0])
    else:
        for name in names:
            message.requires_any.requirements.add(provider_name=name)
        every = message.requires_any.requirements.add().requires_all
        for name in names:
            _optional(every.requirements.add(), name)


def _optional(message: Any, name: str) -> None:
    message.requires_any.requirements.add(provider_name=name)
    message.requires_any.requirements.add().allow_missing.SetInParent()
