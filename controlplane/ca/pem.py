"""Certificates and keys as files hold them; what cannot be read is said with the name of its file."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keys import PrivateKey, weakness

# What cryptography raises for certificates whose parts are broken, doubled or unknown.
_BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def certificates(data: bytes, where: str) -> tuple[x509.Certificate, ...]:
    """All certificates in PEM, in their order; EnvironmentUnfit when there is none, or one is broken."""
    try:
        found = tuple(x509.load_pem_x509_certificates(data))
    except _BROKEN:
        raise EnvironmentUnfit(f"{where}: there is no certificate in PEM that can be read") from None
    for number, one in enumerate(found, 1):
        try:
            # Read when they are asked for: here it is known in which file they are.
            _ = one.extensions, one.public_key(), one.signature_hash_algorithm, one.subject, one.issuer
        except _BROKEN as error:
            raise EnvironmentUnfit(f"{where}: certificate {number} cannot be read: {error}") from error
    return found


def private_key(data: bytes, where: str) -> PrivateKey:
    """A key in PEM; EnvironmentUnfit when it has a password, cannot sign here, or is weak.

    The text of what went wrong never has anything of the key.
    """
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise EnvironmentUnfit(f"{where}: the key has a password; store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise EnvironmentUnfit(f"{where}: there is no private key in PEM that can be read") from None
    weak = weakness(key.public_key())
    if weak or not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise EnvironmentUnfit(f"{where}: the key cannot be used: {weak}")
    return key
