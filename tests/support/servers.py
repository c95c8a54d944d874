"""Certificates of servers, as users bring them: an authority of their own, and Secrets in YAML."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, rsa


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM both."""

    chain: bytes
    key: bytes

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.chain).serial_number

    def secret(self, called: str, namespace: str = "edge", authorities: bytes = b"") -> str:
        """A Secret of this pair in YAML."""
        data = {
            "tls.crt": self.chain,
            "tls.key": self.key,
            **({"ca.crt": authorities} if authorities else {}),
        }
        lines = "".join(f"  {field}: {b64encode(value).decode()}\n" for field, value in data.items())
        return (
            f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {called}, namespace: {namespace}}}\n"
            f"type: kubernetes.io/tls\ndata:\n{lines}---\n"
        )


@dataclass
class Issuer:
    """An authority that a user might have."""

    name: str = "users"
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)
    _own: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self._own = self._sign(self.name, self.key, x509.BasicConstraints(True, None), self.name)

    @property
    def certificate(self) -> bytes:
        return self._own.public_bytes(forms.Encoding.PEM)

    def revoked(self, *pairs: Pair) -> bytes:
        """A list of certificates that this authority has taken back, PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(_named(self.name))
        builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
        for pair in pairs:
            one = x509.RevokedCertificateBuilder().serial_number(pair.serial)
            builder = builder.add_revoked_certificate(one.revocation_date(now).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(forms.Encoding.PEM)

    def issue(self, host: str, *, of_rsa: bool = False) -> Pair:
        """A certificate for one host."""
        key: Any = (
            rsa.generate_private_key(65537, 2048) if of_rsa else ec.generate_private_key(ec.SECP256R1())
        )
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = self._sign(host, key, names, self.name)
        plain = forms.NoEncryption()
        text = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, plain)
        return Pair(made.public_bytes(forms.Encoding.PEM), text)

    def _sign(self, name: str, key: Any, extension: Any, issuer: str) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(self.key, hashes.SHA256())
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
