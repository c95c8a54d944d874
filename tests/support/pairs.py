"""Certificates with their keys, made with cryptography and not by what is tested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PKCS8, SEC1 = pem.PrivateFormat.PKCS8, pem.PrivateFormat.TraditionalOpenSSL


@cache
def pair(kind: str = "ec", serial: int = 0xABCDEF, end: datetime = NOW) -> tuple[bytes, Any]:
    """A certificate (PEM) and its key."""
    makers = {
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    key: Any = makers[kind]()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"shop {serial}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(end - timedelta(days=3650))
        .not_valid_after(end)
        .sign(key, None if kind == "ed25519" else hashes.SHA256())
    )
    return made.public_bytes(pem.Encoding.PEM), key


def key_text(key: Any, form: pem.PrivateFormat = PKCS8, password: bytes | None = None) -> bytes:
    hide = pem.BestAvailableEncryption(password) if password else pem.NoEncryption()
    text: bytes = key.private_bytes(pem.Encoding.PEM, form, hide)
    return text
