"""Signing requests (PKCS #10), read by somebody who trusts nothing in them but the key.

A request that asks for what its sender is not to have is refused rather than corrected: whoever sends
it finds out, and so does whoever reads the log.
"""

from __future__ import annotations

from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from controlplane.ca.keys import PublicKey, weakness
from controlplane.ca.refused import Refused
from controlplane.model.describe import shorten

MOST_BYTES = 16 * 1024
"""RSA with 8192 bits needs 3 KiB."""

# What cryptography raises for requests whose parts are broken, doubled or unknown.
_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.DuplicateExtension)
_ODD = (x509.UnsupportedGeneralNameType, x509.InvalidVersion)
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


class Unparsable(Refused):
    """It is no request that can be read, or its signature is not by its key."""


def key_of(text: str, own: Collection[str]) -> PublicKey:
    """The key of a request in PEM.

    `own` are the SPIFFE IDs of the sender: other names than these may not be asked for.  Raises
    `Unparsable`, and `Refused` for foreign names, CA rights, weak keys and weak signatures.
    """
    if len(text) > MOST_BYTES:
        raise Unparsable("CSR_ERROR", f"the request has more than {MOST_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(text.encode())
        key, genuine = request.public_key(), request.is_signature_valid
        extensions = request.extensions
        weak_hash = isinstance(request.signature_hash_algorithm, _WEAK_HASHES)
    except (*_BROKEN, *_ODD) as error:
        raise Unparsable("CSR_ERROR", f"the request cannot be read ({type(error).__name__})") from error
    if weak_hash:
        raise Refused("CSR_ERROR", "the request is signed over a hash that is too weak")
    if not genuine:
        raise Unparsable("CSR_ERROR", "the request is not signed by its own key")
    weak = weakness(key)
    if weak or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Refused("CSR_ERROR", f"the key cannot be certified: {weak}")
    _check_names(extensions, own)
    _check_rights(extensions)
    return key


def _check_names(extensions: x509.Extensions, own: Collection[str]) -> None:
    for extension in extensions:
        if extension.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            for name in extension.value:
                if not (isinstance(name, x509.UniformResourceIdentifier) and name.value in own):
                    shown = shorten(str(getattr(name, "value", name)))
                    raise Refused("CSR_ERROR", f"the request asks for a name of somebody else: {shown}")


def _check_rights(extensions: x509.Extensions) -> None:
    for extension in extensions:
        asked = extension.value
        if isinstance(asked, x509.BasicConstraints) and asked.ca:
            raise Refused("CSR_ERROR", "the request asks to be a CA")
        if isinstance(asked, x509.KeyUsage) and (asked.key_cert_sign or asked.crl_sign):
            raise Refused("CSR_ERROR", "the request asks for the right to sign certificates")
        if isinstance(asked, x509.NameConstraints):
            raise Refused("CSR_ERROR", "the request asks for name constraints, which only a CA has")
