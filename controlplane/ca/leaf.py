"""Leaf certificates: whose names, which key, how long, signed by whom.

The subject is empty, so the names are critical (RFC 5280, 4.2.1.6); a workload's is one SPIFFE ID
(https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from controlplane.ca.keys import PublicKey, digest, usage
from controlplane.ca.signer import Signer, moment, new_serial

_NOBODY = x509.Name([])
_NO_CA = x509.BasicConstraints(ca=False, path_length=None)
# A proxy is the server of its own workload and the client of others.
_BOTH_ENDS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class Names:
    """Whom a certificate is for: SPIFFE IDs, and for a server also DNS names and addresses."""

    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()


def leaf(
    signer: Signer, key: PublicKey, names: Names, not_before: float, not_after: float
) -> x509.Certificate:
    """A certificate for `key`; times in Unix seconds.  ValueError for a name that cannot be written."""
    alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in names.uris]
    alternatives += [x509.DNSName(name) for name in names.dns]
    alternatives += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips]
    if not alternatives:
        raise ValueError("a certificate needs a name")
    return (
        x509.CertificateBuilder()
        .subject_name(_NOBODY)
        .issuer_name(signer.certificate.subject)
        .public_key(key)
        .serial_number(new_serial())
        .not_valid_before(moment(not_before))
        .not_valid_after(moment(not_after))
        .add_extension(_NO_CA, critical=True)
        # With RSA keys are exchanged, too, which an EC key does not do (RFC 8813).
        .add_extension(usage(signature=True, encipherment=isinstance(key, rsa.RSAPublicKey)), critical=True)
        .add_extension(_BOTH_ENDS, critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_signed_by(signer), critical=False)
        .sign(signer.key, digest(signer.key))
    )


def _signed_by(signer: Signer) -> x509.AuthorityKeyIdentifier:
    """The signer's own identifier, as it is written in its certificate; an operator's CA may have none."""
    try:
        found = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
