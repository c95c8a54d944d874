"""Signed tokens in their compact form (RFC 7515), of one kind only: ES256, with a key of our own.

Most of what ever went wrong with such tokens came from leaving choices to them: an algorithm "none", a key
in the header, a second way to write the same bytes.  Here the token chooses nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

LONGEST = 8192
"""Characters of a token that are looked at; ours have 500, those of Kubernetes 1,200."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_HALF = 32


class NotSigned(Exception):
    """The text is no token of ours; the message says why and holds nothing of it."""


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638): the same wherever the key is."""
    numbers = key.public_numbers()
    x, y = (_encoded(number.to_bytes(_HALF)) for number in (numbers.x, numbers.y))
    return _encoded(hashlib.sha256(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()).digest())


def signed(claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """A token with these claims."""
    header = {"alg": "ES256", "kid": key_id(key.public_key()), "typ": "JWT"}
    text = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_encoded(r.to_bytes(_HALF) + s.to_bytes(_HALF))}"


def verified(token: str, key: ec.EllipticCurvePublicKey, kid: str) -> dict[str, Any]:
    """The claims of a token that `key` has signed; raises `NotSigned`."""
    header, claims, signature = parts(token)
    head = _object(header)
    if head.get("alg") != "ES256":
        raise NotSigned("it is not signed with ES256")
    if head.get("kid") != kid:
        raise NotSigned("it is signed with an unknown key")
    if "crit" in head:
        raise NotSigned("its header demands what is not understood")
    raw = _decoded(signature)
    if len(raw) != 2 * _HALF:
        raise NotSigned("its signature has a wrong length")
    der = encode_dss_signature(int.from_bytes(raw[:_HALF]), int.from_bytes(raw[_HALF:]))
    try:
        key.verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise NotSigned("its signature is wrong") from None
    return _object(claims)


def named_key(token: str) -> str:
    """By which key a token says that it is signed, "" where it does not say; raises `NotSigned`."""
    kid = _object(parts(token)[0]).get("kid")
    return kid if isinstance(kid, str) else ""


def unverified(token: str) -> dict[str, Any]:
    """What a token says, believed by nobody: to see whose it would be.  Raises `NotSigned`."""
    return _object(parts(token)[1])


def parts(token: str) -> tuple[str, str, str]:
    """Header, claims and signature, encoded; raises `NotSigned`."""
    if len(token) > LONGEST:
        raise NotSigned(f"it is longer than {LONGEST} characters")
    if not _FORM.fullmatch(token):
        raise NotSigned("it has not the form of a signed token")
    header, claims, signature = token.split(".")
    return header, claims, signature


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise NotSigned("it is not encoded as a token") from None
    if _encoded(data) != text:
        # The last character has bits that mean nothing: one token would have several spellings.
        raise NotSigned("it is not encoded as a token")
    return data


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(text))
    except (ValueError, RecursionError):
        raise NotSigned("it holds no JSON") from None
    if not isinstance(value, dict):
        raise NotSigned("it holds no object")
    return value
