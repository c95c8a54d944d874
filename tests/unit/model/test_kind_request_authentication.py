"""RequestAuthentication: all of its fields, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.jwks import NOBODYS_KEYS
from controlplane.model.keys import Key
from controlplane.model.kinds import request_authentications
from controlplane.model.kinds.request_authentication import (
    ClaimToHeader,
    JwtHeader,
    JwtRule,
    space_delimited,
)

KIND = "RequestAuthentication"
Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]


def rules(**rule: Any) -> dict[str, Any]:
    return {"jwtRules": [{"issuer": "i", "jwks": NOBODYS_KEYS, **rule}]}


def test_everything(value: Values) -> None:
    got = value(
        KIND,
        {
            "selector": {"matchLabels": {"app": "web"}},
            "jwtRules": [
                {
                    "issuer": "https://a.example",
                    "audiences": ["web"],
                    "jwksUri": "https://a.example/keys",
                    "timeout": "2s",
                    "fromHeaders": [{"name": "x-token", "prefix": "JWT "}, {"name": "y"}],
                    "fromParams": ["p"],
                    "fromCookies": ["c"],
                    "outputPayloadToHeader": "x-payload",
                    "outputClaimToHeaders": [{"header": "x-sub", "claim": "a.b"}],
                    "forwardOriginalToken": True,
                    "spaceDelimitedClaims": ["roles", "scope"],
                    "presence": "REQUIRED",
                },
                {"issuer": "i", "jwks": NOBODYS_KEYS},
            ],
        },
    )
    assert got.selector == (("app", "web"),)
    assert got.jwt_rules == (
        JwtRule(
            issuer="https://a.example",
            audiences=("web",),
            jwks_uri="https://a.example/keys",
            from_headers=(JwtHeader("x-token", "JWT "), JwtHeader("y")),
            from_params=("p",),
            from_cookies=("c",),
            output_payload_to_header="x-payload",
            output_claim_to_headers=(ClaimToHeader("x-sub", "a.b"),),
            forward_original_token=True,
            timeout=2_000_000_000,
            space_delimited_claims=("roles", "scope"),
            presence="REQUIRED",
        ),
        JwtRule("i", jwks=NOBODYS_KEYS),
    )
    assert space_delimited(got.jwt_rules[0]) == ("scope", "permission", "roles")


def test_where_keys_come_from(value: Values) -> None:
    def source(**rule: Any) -> str:
        found: str = value(KIND, {"jwtRules": [rule]}).jwt_rules[0].keys_from
        return found

    assert source(issuer="i", jwks=NOBODYS_KEYS) == ""
    assert source(issuer="i", jwksUri="http://a/k") == "http://a/k"
    assert source(issuer="i", jwks_uri="http://a/k") == "http://a/k"
    assert source(issuer="https://a.example/") == "https://a.example/.well-known/openid-configuration"


def test_who_is_selected(value: Values, warned: Fields) -> None:
    assert request_authentications.selector is not None
    assert request_authentications.selector(value(KIND, {})) == ()
    target = {"kind": "Gateway", "name": "g", "group": "gateway.networking.k8s.io"}
    assert "holds for none" in warned(KIND, {"targetRefs": [target]})["spec.targetRefs"]
    assert "holds for none" in warned(KIND, {"targetRef": target})["spec.targetRefs"]


def test_a_policy_with_targets_selects_nobody(read: Callable[..., Any]) -> None:
    assert request_authentications.selector is not None
    parsed = read(KIND, {"targetRefs": [{"kind": "Service", "name": "s"}]})
    assert request_authentications.selector(parsed.value) is None


def test_uris_are_indexed(value: Values) -> None:
    got = value(
        KIND, {"jwtRules": [{"issuer": "i", "jwksUri": "http://a/k"}, {"issuer": "j", "jwks": NOBODYS_KEYS}]}
    )
    assert list(request_authentications.indexes["jwks"](Key("n", "n"), got)) == ["http://a/k"]


def test_a_key_that_is_left_out_is_told(warned: Fields) -> None:
    keys = json.loads(NOBODYS_KEYS)["keys"]
    text = json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, *keys]})
    (message,) = warned(KIND, rules(jwks=text)).values()
    assert "shared secret" in message
    assert "c2VjcmV0" not in message


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"jwtRules": [{"jwks": NOBODYS_KEYS}]}, "spec.jwtRules[0].issuer", "is missing"),
        ({"jwtRules": [{"issuer": "i"}]}, "spec.jwtRules[0].jwksUri", "is missing, and 'i' is no https URI"),
        (rules(jwksUri="https://a/k"), "spec.jwtRules[0].jwksUri", "excludes jwks"),
        (rules(jwks="nonsense"), "spec.jwtRules[0].jwks", "no key that can be used: is no JSON"),
        (rules(jwks='{"keys":[]}'), "spec.jwtRules[0].jwks", "keys is empty"),
        (rules(jwks='{"keys":[{"kty":"RSA"}]}'), "spec.jwtRules[0].jwks", "keys[0] n or e"),
        (rules(jwks="", jwksUri="ftp://a/k"), "spec.jwtRules[0].jwksUri", "no http or https URI"),
        (rules(jwks="", jwks_uri="https://u:p@a/k"), "spec.jwtRules[0].jwks_uri", "user name or a password"),
        (rules(fromHeaders=[{"prefix": "a"}]), "spec.jwtRules[0].fromHeaders[0].name", "is missing"),
        (rules(fromHeaders=[{"name": "a b"}]), "spec.jwtRules[0].fromHeaders[0].name", "cannot be the name"),
        (
            rules(fromHeaders=[{"name": "a", "prefix": "b\nc"}]),
            "spec.jwtRules[0].fromHeaders[0].prefix",
            "holds a character",
        ),
        (rules(fromParams=[""]), "spec.jwtRules[0].fromParams[0]", "is empty"),
        (
            rules(outputPayloadToHeader=":path"),
            "spec.jwtRules[0].outputPayloadToHeader",
            "cannot be the name",
        ),
        (
            rules(outputClaimToHeaders=[{"header": "a"}]),
            "spec.jwtRules[0].outputClaimToHeaders[0].claim",
            "is missing",
        ),
        (
            rules(outputClaimToHeaders=[{"header": "é", "claim": "c"}]),
            "spec.jwtRules[0].outputClaimToHeaders[0].header",
            "cannot be the name",
        ),
        (rules(presence="SOMETIMES"), "spec.jwtRules[0].presence", "not allowed here"),
        (rules(timeout="1"), "spec.jwtRules[0].timeout", "is not a duration"),
        ({"selector": {"matchLabels": {"a": ""}}}, "spec.selector.matchLabels[a]", "is empty"),
        (
            {"selector": {"matchLabels": {"a": "b"}}, "targetRefs": [{"kind": "Service", "name": "s"}]},
            "spec.targetRefs",
            "excludes selector",
        ),
        (
            {"targetRefs": [{"kind": "Service", "name": "s"}] * 17},
            "spec.targetRefs",
            "has more than 16 elements",
        ),
    ],
)
def test_what_is_refused(refused: Fields, spec: dict[str, Any], field: str, message: str) -> None:
    assert message in refused(KIND, spec)[field]


@pytest.mark.parametrize(
    "name",
    [
        "@request.auth.claims",
        "@request.auth.claims.",
        "@request.auth.claims[a",
        "@request.auth.claims[]",
        "@request.auth.claimsx",
        "@request.auth.claims.a..b",
    ],
)
def test_what_names_no_claim(refused: Fields, name: str) -> None:
    match = {"headers": {name: {"exact": "a"}}}
    rule = {"match": [match], "route": [{"destination": {"host": "a"}}]}
    spec = {"hosts": ["a"], "gateways": ["edge"], "http": [rule]}
    assert "names no claim" in refused("VirtualService", spec)["spec.http[0].match[0].headers"]
