"""Our own tokens: what they say, and everything that is no token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from controlplane.base.errors import Unauthenticated
from controlplane.ca import jws
from controlplane.ca.tokens import AUDIENCE, Issuer, Wish

NOW = 1_700_000_000.5
ISSUER = Issuer(ec.generate_private_key(ec.SECP256R1()))
WEB = Wish("default", "web", 3600.0)
TOKEN, ACCOUNT = ISSUER.issue(WEB, NOW)
CLAIMS = jws.unverified(TOKEN)


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def cause(token: str, *, audience: str = AUDIENCE, now: float = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        ISSUER.judge(token, audience, now)
    assert token not in str(caught.value)
    return caught.value.cause


def with_claims(**changed: Any) -> str:
    return jws.signed({**CLAIMS, **changed}, ISSUER.key)


def test_a_token_says_who_holds_it_and_how_long() -> None:
    found = ISSUER.judge(TOKEN, AUDIENCE, NOW)
    assert found == ACCOUNT
    assert (found.path, found.pod) == ("default/web", "")
    assert (found.issued, found.expires) == (1_700_000_000, 1_700_003_600)
    assert len(found.id) == 32


def test_its_claims_are_those_of_kubernetes() -> None:
    token, _ = ISSUER.issue(WEB._replace(pod="web-1"), NOW)
    claims = jws.unverified(token)
    assert claims["sub"] == "system:serviceaccount:default:web"
    assert claims["kubernetes.io"] == {
        "namespace": "default",
        "serviceaccount": {"name": "web"},
        "pod": {"name": "web-1"},
    }
    assert ISSUER.judge(token, AUDIENCE, NOW).pod == "web-1"


def test_an_independent_library_reads_it() -> None:
    claims = jwt.decode(
        TOKEN,
        ISSUER.key.public_key(),
        algorithms=["ES256"],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert claims == CLAIMS
    assert jwt.get_unverified_header(TOKEN) == {"alg": "ES256", "kid": ISSUER.kid, "typ": "JWT"}


def test_what_an_independent_library_signs_is_read() -> None:
    token = jwt.encode(CLAIMS, ISSUER.key, algorithm="ES256", headers={"kid": ISSUER.kid})
    assert ISSUER.judge(token, AUDIENCE, NOW) == ACCOUNT


def test_two_tokens_are_never_the_same() -> None:
    assert ISSUER.issue(WEB, NOW)[1].id != ACCOUNT.id


@pytest.mark.parametrize("name", ["", "Web", "a/b", "a:b", "a b", "a" * 254, "-\n"])
def test_a_name_that_kubernetes_does_not_know_gets_none(name: str) -> None:
    with pytest.raises(ValueError, match="no service account"):
        ISSUER.issue(WEB._replace(name=name), NOW)


# -- what is no token -------------------------------------------------------------------------------------


def test_another_key_signs_nothing_here() -> None:
    other = Issuer(ec.generate_private_key(ec.SECP256R1()))
    token, _ = other.issue(WEB, NOW)
    assert cause(token) == "forged"
    header = encoded({"alg": "ES256", "kid": ISSUER.kid})
    _, claims, signature = token.split(".")
    assert cause(f"{header}.{claims}.{signature}") == "forged"


def test_no_algorithm_is_no_signature() -> None:
    for name in ("none", "None", "NONE", "nOnE", "", None):
        header = encoded({"alg": name, "kid": ISSUER.kid})
        claims = encoded(CLAIMS)
        assert cause(f"{header}.{claims}.") == "forged"
        assert cause(f"{header}.{claims}.{TOKEN.split('.')[2]}") == "forged"


def test_the_public_key_is_no_secret() -> None:
    public = ISSUER.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"{encoded({'alg': 'HS256', 'kid': ISSUER.kid})}.{encoded(CLAIMS)}"
    signature = hmac.new(public, text.encode(), hashlib.sha256).digest()
    assert cause(f"{text}.{encoded(signature)}") == "forged"


def test_a_token_brings_no_key_of_its_own() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    numbers = other.public_key().public_numbers()
    key = {
        "kty": "EC",
        "crv": "P-256",
        "x": encoded(numbers.x.to_bytes(32)),
        "y": encoded(numbers.y.to_bytes(32)),
    }
    token = jwt.encode(CLAIMS, other, algorithm="ES256", headers={"kid": ISSUER.kid, "jwk": key})
    assert cause(token) == "forged"


def test_a_header_that_demands_something_is_not_understood() -> None:
    token = jwt.encode(CLAIMS, ISSUER.key, algorithm="ES256", headers={"kid": ISSUER.kid, "crit": ["b64"]})
    assert cause(token) == "forged"


def test_a_signature_of_zeros_is_none() -> None:
    header, claims, _ = TOKEN.split(".")
    for signature in (bytes(64), b"", bytes(63), bytes(65), b"\xff" * 64):
        assert cause(f"{header}.{claims}.{encoded(signature)}") == "forged"


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.sampled_from("ABCxyz019-_."))
def test_every_changed_character_is_noticed(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    if changed != TOKEN:
        assert cause(changed) == "forged"


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    with pytest.raises(Unauthenticated):
        ISSUER.judge(text, AUDIENCE, NOW)


def test_a_token_has_one_spelling() -> None:
    # The last character of a signature has four bits that mean nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = TOKEN[:-1] + alphabet[alphabet.index(TOKEN[-1]) ^ 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "==") == base64.urlsafe_b64decode(
        TOKEN.split(".")[2] + "=="
    )
    assert cause(twin) == "forged"
    assert cause(TOKEN + "=") == "forged"


def test_a_huge_token_is_not_looked_at() -> None:
    assert cause(TOKEN + "A" * 10_000) == "forged"


# -- what is a token, and not for here and now ------------------------------------------------------------


def test_it_ends_when_it_says() -> None:
    assert ISSUER.judge(TOKEN, AUDIENCE, ACCOUNT.expires - 0.1) == ACCOUNT
    assert cause(TOKEN, now=ACCOUNT.expires) == "expired"


def test_it_may_be_from_the_next_minute_at_most() -> None:
    assert ISSUER.judge(TOKEN, AUDIENCE, NOW - 60).id == ACCOUNT.id
    assert cause(TOKEN, now=NOW - 61) == "early"


def test_it_is_for_one_audience() -> None:
    assert cause(TOKEN, audience="somebody-else") == "audience"
    assert cause(with_claims(aud="istio-ca")) == "audience"
    assert cause(with_claims(aud=[])) == "audience"


@pytest.mark.parametrize("missing", ["exp", "iat", "nbf", "jti", "sub"])
def test_it_says_all_that_it_must(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    assert cause(jws.signed(claims, ISSUER.key)) == "claims"


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": "1800000000"},
        {"exp": True},
        {"exp": 1e12},
        {"exp": None},
        {"jti": ""},
        {"jti": 7},
        {"sub": "system:node:web"},
        {"sub": "system:serviceaccount:default:web:extra"},
        {"sub": "system:serviceaccount::web"},
        {"sub": "system:serviceaccount:../etc:web"},
        {"sub": ["system:serviceaccount:default:web"]},
    ],
)
def test_what_it_says_must_make_sense(wrong: dict[str, Any]) -> None:
    assert cause(with_claims(**wrong)) == "claims"


def test_it_is_of_this_issuer() -> None:
    assert cause(with_claims(iss="https://kubernetes.default.svc")) == "issuer"


def test_a_token_is_shown_nowhere() -> None:
    assert TOKEN not in repr(ACCOUNT)
    assert "PRIVATE" not in repr(ISSUER)
