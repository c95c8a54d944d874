"""Key sets: what of them can be used, in which form, and that nothing secret stays."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from controlplane.model.jwks import DISCOVERY, NOBODYS_KEYS, discovery_uri, read_key_set, uri_fault

CURVES: tuple[ec.EllipticCurve, ...] = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def elliptic(curve: ec.EllipticCurve = CURVES[0]) -> dict[str, Any]:
    return ECAlgorithm(ECAlgorithm.SHA256).to_jwk(ec.generate_private_key(curve).public_key(), as_dict=True)


def number(value: int) -> str:
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def modulus(bits: int) -> str:
    return number(1 << (bits - 1) | 1)


def whole(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


P_256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
EC = elliptic()
RSA = {"kty": "RSA", "n": modulus(2048), "e": "AQAB"}
OKP = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(bytes(32)).decode()}


def read(*keys: Any) -> Any:
    return read_key_set(json.dumps({"keys": list(keys)}))


def kept(*keys: Any) -> list[dict[str, Any]]:
    found = read(*keys)
    assert found.faults == ()
    value: list[dict[str, Any]] = json.loads(found.text)["keys"]
    return value


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_elliptic_keys_as_another_library_writes_them(curve: ec.EllipticCurve) -> None:
    key = elliptic(curve)
    assert kept(key) == [key]


def test_rsa_and_edwards_keys_as_another_library_writes_them() -> None:
    public = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
    (found,) = kept(public)
    assert (found["n"], found["e"]) == (public["n"], public["e"])
    edwards = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
    assert kept(edwards) == [edwards]


def test_the_exponents_that_envoy_takes() -> None:
    assert len(kept(RSA, {**RSA, "e": "Aw"})) == 2


def test_names_stay_and_everything_private_or_idle_goes() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = ECAlgorithm(ECAlgorithm.SHA256).to_jwk(key, as_dict=True)
    assert "d" in private
    noise = {"use": "sig", "x5c": ["MIIB"], "x5t": "a", "key_ops": ["verify"]}
    (found,) = kept({**private, **noise, "kid": "one", "alg": "ES256"})
    assert found.keys() == {"kty", "kid", "alg", "crv", "x", "y"}


def test_equal_sets_are_equal_texts() -> None:
    padded = {**RSA, "e": "AQAB====="[:4], "n": RSA["n"] + "=" * (-len(RSA["n"]) % 4)}
    long = {**RSA, "n": "AAAA" + RSA["n"]} if len(RSA["n"]) % 4 == 0 else padded
    assert read(RSA, EC).text == read(EC, padded, long).text == read(EC, EC, RSA).text
    assert read_key_set(read(RSA, EC).text) == read(RSA, EC)
    small = {**EC, "x": number(1), "y": number(1)}
    assert read(small).faults == (("keys[0]", "is not a point of P-256"),)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("text", "is no JSON object"),
        ({}, "no kty"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "is a shared secret"),
        ({**RSA, "kty": 1}, "kty is no printable string"),
        ({**RSA, "kid": "\ud800"}, "kid is no printable string"),
        ({**RSA, "kid": "a" * 2000}, "kid is no printable string, or a very long one"),
        ({**RSA, "use": "enc"}, "is for another use ('enc')"),
        ({**RSA, "alg": "RSA-OAEP"}, "alg is none of RS256"),
        ({**RSA, "alg": "ES256"}, "alg is none of RS256"),
        ({**RSA, "e": "AQ"}, "e is neither 65537 nor 3"),
        ({**RSA, "e": number(17)}, "e is neither 65537 nor 3"),
        ({**RSA, "e": "A+A="}, "is no base64url number"),
        ({**RSA, "n": 5}, "is no base64url number"),
        ({**RSA, "n": "A" * 5}, "is no base64url number"),
        ({**RSA, "n": "A" * 100_000}, "is no base64url number"),
        ({**RSA, "n": modulus(1023)}, "1024 to 8192 bits"),
        ({**RSA, "n": modulus(8193)}, "1024 to 8192 bits"),
        ({**RSA, "n": number(1 << 2047)}, "is not an odd number"),
        ({**EC, "crv": "secp256k1"}, "crv is none of P-256"),
        ({**EC, "crv": "P-384"}, "is not a point of P-384"),
        ({**EC, "alg": "ES384"}, "alg is not ES256"),
        ({**EC, "y": EC["x"]}, "is not a point of P-256"),
        # The same point in other words, which not every library takes.
        ({**EC, "x": number(whole(EC["x"]) + P_256)}, "is not a point of P-256"),
        ({**EC, "y": number(whole(EC["y"]) + P_256)}, "is not a point of P-256"),
        ({**EC, "y": None}, "x or y is no base64url number"),
        ({**OKP, "crv": "X25519"}, "crv is not Ed25519"),
        ({**OKP, "x": "AAAA"}, "x is not 32 bytes"),
        ({**OKP, "alg": "ES256"}, "alg is not EdDSA"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_told(key: Any, fault: str) -> None:
    alone = read(key)
    assert alone.text == ""
    ((place, told),) = alone.faults
    assert place == "keys[0]"
    assert fault in told
    beside = read(RSA, key)
    assert beside.text == read(RSA).text
    assert [place for place, _ in beside.faults] == ["keys[1]"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ("", "is no JSON")),
        ("[" * 100_000, ("", "is no JSON")),
        (b"\xff\xfe", ("", "is no JSON")),
        ("[]", ("", "has no list of keys")),
        ('{"keys": {}}', ("", "has no list of keys")),
        ('{"keys": []}', ("keys", "is empty")),
        (json.dumps({"keys": [RSA] * 101}), ("keys", "has more than 100 elements")),
    ],
)
def test_what_is_no_key_set(text: str | bytes, fault: tuple[str, str]) -> None:
    assert read_key_set(text) == ("", (fault,))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
spoilt = st.builds(
    lambda key, changes: {**key, **changes},
    st.sampled_from([EC, RSA, OKP]),
    st.dictionaries(
        st.sampled_from(["kty", "kid", "alg", "use", "crv", "n", "e", "x", "y"]), values, max_size=2
    ),
)


@given(st.lists(values | spoilt, max_size=3))
def test_nothing_makes_it_raise(keys: list[Any]) -> None:
    found = read_key_set(json.dumps({"keys": keys}))
    assert bool(found.text) or bool(found.faults)
    assert read_key_set(found.text).text == found.text


@pytest.mark.parametrize("name", ["kid", "alg", "use"])
def test_null_is_absent(name: str) -> None:
    assert read({**EC, name: None}) == read(EC)


def test_nobody_has_the_key_of_nobody() -> None:
    (key,) = json.loads(NOBODYS_KEYS)["keys"]
    # A point of the curve as another library sees it, found by hashing.
    assert ECAlgorithm.from_jwk(key).curve.name == "secp256r1"
    assert read_key_set(NOBODYS_KEYS).text == NOBODYS_KEYS


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("https://a.example/keys?x=1", ""),
        ("http://10.0.0.1:8080/keys", ""),
        ("https://[2001:db8::1]/keys", ""),
        ("https://keys", ""),
        ("file:///etc/passwd", "no http or https"),
        ("ftp://a.example", "no http or https"),
        ("a.example/keys", "no http or https"),
        ("", "no http or https"),
        ("https:///keys", "names no host"),
        ("https://*.example/", "names no host"),
        ("https://a.example:99999/", "is no URI"),
        ("https://[::1", "is no URI"),
        ("https://a.example:0/", "port 0"),
        ("https://user:password@a.example/", "user name or a password"),
        ("https://a.example/a b", "characters"),
        ("https://a.example/\r\nHost: b", "characters"),
        ("https://ä.example/", "characters"),
    ],
)
def test_uris(uri: str, fault: str) -> None:
    assert (fault in uri_fault(uri)) if fault else uri_fault(uri) == ""


def test_an_issuer_that_is_a_uri_can_be_asked() -> None:
    assert discovery_uri("https://a.example/realm/") == f"https://a.example/realm{DISCOVERY}"
    assert discovery_uri("testing@secure.istio.io") == ""
