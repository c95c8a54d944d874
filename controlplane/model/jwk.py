"""One public key of a key set (RFC 7517), reduced to what verifies signatures.

An Envoy refuses a whole listener for a key set without a usable key, so what is usable is decided here,
at least as strictly as there.  What is kept is canonical and public: a private member that somebody
published by mistake goes no further.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Jwk(NamedTuple):
    """A key as canonical JSON, or "" and why it cannot be used."""

    text: str
    fault: str = ""


class _Curve(NamedTuple):
    """y² = x³ - 3x + b modulo p; `size` bytes a coordinate."""

    p: int
    b: int
    size: int
    algorithm: str


_CURVES = {
    "P-256": _Curve(
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        32,
        "ES256",
    ),
    "P-384": _Curve(
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        48,
        "ES384",
    ),
    "P-521": _Curve(
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
        66,
        "ES512",
    ),
}
"""FIPS 186-4, D.1.2."""

_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EXPONENTS = (65537, 3)
"""Of a set that holds no other Envoy 1.40 refuses the listener."""
_BASE64 = re.compile(r"[-_A-Za-z0-9]+={0,2}")
_LONGEST_NUMBER = 4096
_LONGEST_NAME = 1024


def read_key(raw: object) -> Jwk:
    """What a member of `keys` is to a verifier.  Never raises."""
    if not isinstance(raw, Mapping):
        return Jwk("", "is no JSON object")
    for name in ("kty", "kid", "alg", "use", "crv"):
        given = raw.get(name)
        if given is not None and not _is_word(given):
            return Jwk("", f"{name} is no printable string, or a very long one")
    use = raw.get("use")
    if use not in (None, "sig"):
        return Jwk("", f"is for another use ({use[:20]!r})")
    kty = raw.get("kty")
    if kty == "RSA":
        return _rsa(raw)
    if kty == "EC":
        return _elliptic(raw)
    if kty == "OKP":
        return _edwards(raw)
    if kty == "oct":
        return Jwk("", "is a shared secret: whoever reads the configuration could make tokens")
    return Jwk("", "has no kty of RSA, EC or OKP")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()


def _rsa(raw: Mapping[str, Any]) -> Jwk:
    modulus, exponent = _number(raw, "n"), _number(raw, "e")
    if not modulus or not exponent:
        return Jwk("", "n or e is no base64url number")
    if modulus % 2 == 0 or not 1024 <= modulus.bit_length() <= 8192:
        return Jwk("", "n is not an odd number of 1024 to 8192 bits")
    if exponent not in _EXPONENTS:
        return Jwk("", "e is neither 65537 nor 3")
    if raw.get("alg") not in (None, *_RSA_ALGORITHMS):
        return Jwk("", f"alg is none of {', '.join(_RSA_ALGORITHMS)}")
    numbers = {"e": _text(exponent), "n": _text(modulus)}
    return _jwk(raw, numbers)


def _elliptic(raw: Mapping[str, Any]) -> Jwk:
    name = raw.get("crv") or ""
    curve = _CURVES.get(name)
    if curve is None:
        return Jwk("", f"crv is none of {', '.join(_CURVES)}")
    x, y = _number(raw, "x"), _number(raw, "y")
    if x is None or y is None:
        return Jwk("", "x or y is no base64url number")
    if x >= curve.p or y >= curve.p or (y * y - x * x * x + 3 * x - curve.b) % curve.p:
        return Jwk("", f"is not a point of {name}")
    if raw.get("alg") not in (None, curve.algorithm):
        return Jwk("", f"alg is not {curve.algorithm}, which is the one of {name}")
    return _jwk(raw, {"crv": name, "x": _text(x, curve.size), "y": _text(y, curve.size)})


def _edwards(raw: Mapping[str, Any]) -> Jwk:
    if raw.get("crv") != "Ed25519":
        return Jwk("", "crv is not Ed25519")
    octets = _octets(raw, "x")
    if octets is None or len(octets) != 32:
        return Jwk("", "x is not 32 bytes in base64url")
    if raw.get("alg") not in (None, "EdDSA"):
        return Jwk("", "alg is not EdDSA")
    return _jwk(raw, {"crv": "Ed25519", "x": _encoded(octets)})


def _jwk(raw: Mapping[str, Any], numbers: Mapping[str, str]) -> Jwk:
    named = {name: raw[name] for name in ("kty", "kid", "alg") if raw.get(name)}
    return Jwk(canonical({**named, **numbers}))


def canonical(value: Any) -> str:
    """JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _octets(raw: Mapping[str, Any], name: str) -> bytes | None:
    text = raw.get(name)
    if not isinstance(text, str) or len(text) > _LONGEST_NUMBER or not _BASE64.fullmatch(text):
        return None
    bare = text.rstrip("=")
    # A single character left over is no byte.
    return None if len(bare) % 4 == 1 else base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))


def _number(raw: Mapping[str, Any], name: str) -> int | None:
    octets = _octets(raw, name)
    return None if octets is None else int.from_bytes(octets, "big")


def _text(number: int, size: int = 0) -> str:
    return _encoded(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def nobodys_key() -> str:
    """A public key whose private half nobody has: nothing that it is asked about verifies.

    Its point was not made from a number, as keys are, but found on the curve by hashing a sentence;
    to know the number would be to solve the discrete logarithm.
    """
    curve = _CURVES["P-256"]
    x = int.from_bytes(hashlib.sha256(b"No token is signed with this key.").digest(), "big")
    while True:
        square = (x * x * x - 3 * x + curve.b) % curve.p
        # p = 3 mod 4, so that this is the root if there is one.
        y = pow(square, (curve.p + 1) // 4, curve.p)
        if y * y % curve.p == square:
            break
        x += 1
    point = {"crv": "P-256", "x": _text(x, curve.size), "y": _text(y, curve.size)}
    return canonical({"kid": "nobody", "kty": "EC", **point})
