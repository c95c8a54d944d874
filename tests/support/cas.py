"""CAs of operators, good and bad, as files; and openssl, which judges certificates independently of us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from controlplane.ca.keys import key_pem
from controlplane.ca.signer import moment, pem

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")

NOW = 1_800_000_000.0
DAY = 86400.0


@dataclass(frozen=True)
class Made:
    """A CA's certificate and key, and who signed it."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)


@dataclass(frozen=True)
class Shape:
    """What is to be odd about a CA."""

    ca: bool = True
    path_length: int | None = None
    may_sign: bool = True
    begin: float = NOW - DAY
    end: float = NOW + 365 * DAY
    key: str = "p256"
    extensions: bool = True


GOOD = Shape()


def make_ca(name: str, issuer: Made | None = None, shape: Shape = GOOD) -> Made:
    """A CA's certificate, by itself or by `issuer`."""
    key: Any = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p224": lambda: ec.generate_private_key(ec.SECP224R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    }[shape.key]()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(shape.begin))
        .not_valid_after(moment(shape.end))
    )
    if shape.extensions:
        usage = dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                *("encipher_only", "decipher_only"),
            ),
            False,
        )
        builder = (
            builder.add_extension(x509.BasicConstraints(shape.ca, shape.path_length), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, key_cert_sign=shape.may_sign, crl_sign=shape.may_sign, **usage
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
    if issuer is not None:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(above, critical=False)
    signing = key if issuer is None else issuer.key
    return Made(builder.sign(signing, hashes.SHA256()), key)


def shaped(**changes: Any) -> Shape:
    return replace(GOOD, **changes)


def plug(folder: Path, signer: Made, roots: Sequence[Made], chain: Sequence[Made] = ()) -> Path:
    """Write Istio's four files."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "ca-cert.pem").write_bytes(signer.pem)
    (folder / "ca-key.pem").write_bytes(signer.key_pem)
    (folder / "root-cert.pem").write_bytes(b"".join(one.pem for one in roots))
    (folder / "cert-chain.pem").write_bytes(b"".join(one.pem for one in chain))
    return folder


def three(root_shape: Shape = GOOD, middle_shape: Shape = GOOD) -> tuple[Made, Made, Made]:
    """A root, what it signed, and what that signed."""
    root = make_ca("root", shape=root_shape)
    middle = make_ca("middle", root, middle_shape)
    return root, middle, make_ca("cluster", middle)


def openssl(*args: str, ok: bool = True) -> str:
    """What openssl prints."""
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def verified(directory: Path, chain: bytes, roots: bytes, *args: str, ok: bool = True) -> str:
    """`openssl verify` of a leaf (the first of `chain`) against nothing but these roots.

    An empty chain of roots trusts nobody: the machine's own are not asked.
    """
    first, _, rest = chain.partition(b"-----END CERTIFICATE-----\n")
    (directory / "leaf.pem").write_bytes(first + b"-----END CERTIFICATE-----\n")
    (directory / "rest.pem").write_bytes(rest)
    (directory / "roots.pem").write_bytes(roots)
    between = ("-untrusted", str(directory / "rest.pem")) if rest else ()
    return openssl(
        "verify",
        "-x509_strict",
        "-no-CApath",
        "-no-CAstore",
        *("-CAfile", str(directory / "roots.pem")),
        *between,
        *args,
        str(directory / "leaf.pem"),
        ok=ok,
    )
