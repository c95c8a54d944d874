"""Keys: which are made, which are strong enough, what for, and how they are written down."""

from __future__ import annotations

from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

KeyType = Literal["ec", "rsa"]
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

Digest: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

RSA_BITS = 2048
_MOST_RSA_BITS = 8192  # more costs every peer's CPU for each handshake
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def new_key(key_type: KeyType) -> PrivateKey:
    """A key on P-256, or one of RSA with 2048 bits."""
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def usage(*, signature: bool = False, encipherment: bool = False, issuing: bool = False) -> x509.KeyUsage:
    """What a certificate's key may be used for; `issuing`: to sign certificates and lists of revoked ones."""
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuing,
        crl_sign=issuing,
        encipher_only=False,
        decipher_only=False,
    )


def weakness(key: object) -> str:
    """What is wrong with a public key, "" when it does: P-256, P-384, P-521 or RSA from 2048 bits."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = key.curve.name
        return "" if name in _CURVES else f"its curve is {name}; P-256, P-384 and P-521 are taken"
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
            return f"it is RSA of {key.key_size} bits; {RSA_BITS} to {_MOST_RSA_BITS} are taken"
        exponent = key.public_numbers().e
        return "" if exponent >= 65537 else f"its RSA exponent is {exponent}; 65537 and above are taken"
    return "it is neither EC (P-256, P-384, P-521) nor RSA"


def key_pem(key: PrivateKey) -> bytes:
    """PKCS #8 without a password.  Whoever asks for this decides where the bytes go."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def digest(key: PrivateKey) -> Digest:
    """The hash that a signature by this key is made over."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA512()
    return hashes.SHA256()
