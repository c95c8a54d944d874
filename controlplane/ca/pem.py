"""Certificates and keys as files hold them; what cannot be read is said with the name of its file."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keys import PrivateKey, weakness


def certificates(data: bytes, where: str) -> tuple[x509.Certificate, ...]:
    """All certificates in PEM, in their order; EnvironmentUnfit when there is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise EnvironmentUnfit(f"{where}: there is no certificate in PEM that can be read") from None


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
