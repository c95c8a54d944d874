"""Who signs: a CA's certificate and key, and what leads from it to a root.

One that is made here is its own root.  An operator's is mostly an intermediate, whose root's key lies
somewhere safer; see `controlplane.ca.plugged`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from controlplane.ca.keys import PrivateKey, digest, key_pem, new_key, usage

BACKDATED = 120.0
"""Seconds by which NotBefore lies in the past: clocks differ."""

_DIGITS = 8
# RFC 5280, 4.1.2.5: what has no end ends then.
_END_OF_TIME = 253402300799


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA that can sign.  `between` leads on from `certificate` to `root`, without both.

    Two are equal when their certificates are: the key belongs to its certificate.
    """

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)
    root: x509.Certificate
    between: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a leaf is sent with: from the signer on, without the root."""
        return () if self.certificate == self.root else (self.certificate, *self.between)

    @property
    def not_after(self) -> float:
        """When the first of the chain and the root ends, in Unix seconds."""
        ends = (one.not_valid_after_utc.timestamp() for one in (self.certificate, *self.between, self.root))
        return min(ends)


def self_signed(now: float, lifetime: float) -> Signer:
    """A new root (P-256), valid from shortly before `now` for `lifetime` seconds.

    Two roots never have the same name: a verifier may look for an issuer by name alone.
    """
    key = new_key("ec")
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mini-istiod"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"root {identifier.digest.hex()[:_DIGITS]}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(new_serial())
        .not_valid_before(moment(now - BACKDATED))
        .not_valid_after(moment(now + lifetime))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(issuing=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, digest(key))
    )
    return Signer(certificate, key, certificate)


def new_serial() -> int:
    """A serial number of 128 random bits; never 0, which RFC 5280 does not allow."""
    return secrets.randbits(128) or 1


def moment(seconds: float) -> datetime:
    """Unix seconds as certificates hold time: whole seconds in UTC, up to the year 9999."""
    return datetime.fromtimestamp(min(int(seconds), _END_OF_TIME), UTC)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def signer_pem(signer: Signer) -> dict[str, str]:
    """A signer as text, its key included, for whoever keeps it."""
    return {
        "certificate": pem(signer.certificate).decode(),
        "between": "".join(pem(one).decode() for one in signer.between),
        "root": pem(signer.root).decode(),
        "key": key_pem(signer.key).decode(),
    }


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the certificate in hexadecimal, as `openssl x509 -fingerprint -sha256` without colons."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def describe(certificate: x509.Certificate) -> dict[str, str]:
    """What an operator compares: names, times and fingerprint as text."""
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "sha256": fingerprint(certificate),
    }
