"""TLS settings of a client (DestinationRule, MeshConfig) and of a server (Sidecar ingress)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.model.checks import check_lines
from controlplane.model.describe import shorten
from controlplane.model.reader import Reader

ORIGINATED = ("SIMPLE", "MUTUAL")
"""The modes in which a client speaks TLS with certificates that are not the mesh's."""

CIPHER_SUITES = frozenset(
    {
        *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
        *("ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"),
        *("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"),
    }
)
"""What Envoy knows for TLS up to 1.2; it would refuse a listener for a name that it does not know."""
ECDH_CURVES = frozenset({"X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"})
"""The same for key agreement."""


@dataclass(frozen=True, slots=True)
class ClientTLSSettings:
    """`mode` is DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL; certificates and keys are file paths."""

    mode: str = "DISABLE"
    client_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None
    credential_name: str | None = None
    subject_alt_names: tuple[str, ...] = ()
    sni: str | None = None
    insecure_skip_verify: bool | None = None
    ca_crl: str | None = None


@dataclass(frozen=True, slots=True)
class TLSCertificate:
    """One of several certificates of a server; file paths."""

    server_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None


@dataclass(frozen=True, slots=True)
class ServerTLSSettings:
    """`mode` is PASSTHROUGH, SIMPLE, MUTUAL, AUTO_PASSTHROUGH, ISTIO_MUTUAL or OPTIONAL_MUTUAL.

    Protocol versions are TLS_AUTO or TLSV1_0 … TLSV1_3.
    """

    https_redirect: bool = False
    mode: str = "PASSTHROUGH"
    server_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None
    ca_crl: str | None = None
    ca_cert_credential_name: str | None = None
    credential_name: str | None = None
    credential_names: tuple[str, ...] = ()
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: str = "TLS_AUTO"
    max_protocol_version: str = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """(chain, key) files at the proxy."""
        pairs = [(self.server_certificate, self.private_key)]
        pairs += [(one.server_certificate, one.private_key) for one in self.tls_certificates]
        return tuple((chain, key) for chain, key in pairs if chain and key)


_LONGEST_SNI = 255
_SPKI = re.compile(r"[A-Za-z0-9+/]{43}=")
_HASH = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")
_FILES = ("clientCertificate", "privateKey", "caCertificates", "caCrl")


def read_client_tls(r: Reader) -> ClientTLSSettings:
    """ClientTLSSettings: certificates come from files or from one credential, never from both."""
    settings = ClientTLSSettings(
        mode=r.enum("mode", ("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"), "DISABLE"),
        client_certificate=r.string("clientCertificate"),
        private_key=r.string("privateKey"),
        ca_certificates=r.string("caCertificates"),
        credential_name=r.string("credentialName"),
        subject_alt_names=r.strings("subjectAltNames"),
        sni=r.string("sni"),
        insecure_skip_verify=r.optional_boolean("insecureSkipVerify"),
        ca_crl=r.string("caCrl"),
    )
    check_lines(r, sni=settings.sni)
    if len((settings.sni or "").encode()) > _LONGEST_SNI:
        r.error("sni", f"is longer than {_LONGEST_SNI} bytes", "name the host that clients mean")
    for name in _FILES:
        if r.has(name) and settings.mode == "ISTIO_MUTUAL":
            r.warn(name, "has no effect with ISTIO_MUTUAL", "remove it, or use MUTUAL")
        elif r.has(name) and settings.credential_name is not None:
            r.error(name, "excludes credentialName", "keep one of them")
    if settings.insecure_skip_verify and settings.mode in ORIGINATED:
        for name in ("caCertificates", "subjectAltNames"):
            if r.has(name):
                r.error(name, "excludes insecureSkipVerify", "keep one of them")
        if settings.mode == "SIMPLE" and settings.credential_name is not None:
            r.error("credentialName", "excludes insecureSkipVerify", "keep one of them")
    if settings.mode == "MUTUAL" and settings.credential_name is None:
        for name in ("clientCertificate", "privateKey"):
            r.demand(name, "MUTUAL needs clientCertificate and privateKey, or credentialName")
    return settings


def read_server_tls(r: Reader) -> ServerTLSSettings:
    """ServerTLSSettings: certificates come from files, from one credential or from a list, one of these."""
    settings = ServerTLSSettings(
        https_redirect=r.boolean("httpsRedirect"),
        mode=r.enum("mode", _SERVER_MODES, "PASSTHROUGH"),
        server_certificate=r.string("serverCertificate"),
        private_key=r.string("privateKey"),
        ca_certificates=r.string("caCertificates"),
        ca_crl=r.string("caCrl"),
        ca_cert_credential_name=r.string("caCertCredentialName"),
        credential_name=r.string("credentialName"),
        credential_names=r.strings("credentialNames"),
        tls_certificates=r.messages("tlsCertificates", _read_certificate),
        subject_alt_names=r.strings("subjectAltNames"),
        verify_certificate_spki=r.strings("verifyCertificateSpki"),
        verify_certificate_hash=r.strings("verifyCertificateHash"),
        min_protocol_version=r.enum("minProtocolVersion", _VERSIONS, "TLS_AUTO"),
        max_protocol_version=r.enum("maxProtocolVersion", _VERSIONS, "TLS_AUTO"),
        cipher_suites=r.strings("cipherSuites"),
        ecdh_curves=r.strings("ecdhCurves"),
        insecure_skip_verify=r.optional_boolean("insecureSkipVerify"),
    )
    _check_versions(r, settings)
    _check_prints(r, "verifyCertificateSpki", settings.verify_certificate_spki, _SPKI)
    _check_prints(r, "verifyCertificateHash", settings.verify_certificate_hash, _HASH)
    given = [name for name in ("credentialName", "credentialNames", "tlsCertificates") if r.has(name)]
    if len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of them")
    if settings.mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL") and not given:
        for name in ("serverCertificate", "privateKey"):
            r.demand(name, f"{settings.mode} needs a certificate and its key")
    return settings


def _check_versions(r: Reader, settings: ServerTLSSettings) -> None:
    """What is not said is 1.2 at least, and 1.3 at most."""
    low, high = settings.min_protocol_version, settings.max_protocol_version
    low = _LEAST if low == "TLS_AUTO" else low
    if high != "TLS_AUTO" and _VERSIONS.index(low) > _VERSIONS.index(high):
        why = f"{high} is below the least version, {low}: no client can connect"
        r.warn("maxProtocolVersion", why, "raise it, or lower minProtocolVersion")


def _check_prints(r: Reader, name: str, prints: tuple[str, ...], form: re.Pattern[str]) -> None:
    """Fingerprints of SHA-256: Envoy refuses a listener with one that cannot be."""
    for index, one in enumerate(prints):
        if not form.fullmatch(one):
            what = f"{shorten(one)} is no SHA-256 of a certificate"
            r.error(f"{name}[{index}]", what, "write 64 hexadecimal digits, of a key 44 characters of base64")


_SHOWN = {
    "serverCertificate": "server_certificate",
    "privateKey": "private_key",
    "credentialName": "credential_name",
    "credentialNames": "credential_names",
    "tlsCertificates": "tls_certificates",
}
_AUTHORITIES = {
    "caCertificates": "ca_certificates",
    "caCertCredentialName": "ca_cert_credential_name",
}
_NARROWING = {
    "verifyCertificateSpki": "verify_certificate_spki",
    "verifyCertificateHash": "verify_certificate_hash",
    "caCrl": "ca_crl",
    "insecureSkipVerify": "insecure_skip_verify",
}
_NAMES = {"subjectAltNames": "subject_alt_names"}


def fields_excluded(tls: ServerTLSSettings) -> tuple[str, ...]:
    """What is said and cannot be meant: with ISTIO_MUTUAL certificates are the mesh's own."""
    return _said(tls, _SHOWN | _AUTHORITIES) if tls.mode == "ISTIO_MUTUAL" else ()


def fields_without_effect(tls: ServerTLSSettings) -> tuple[str, ...]:
    """What is said, and does nothing in this mode."""
    if tls.mode == "ISTIO_MUTUAL":
        limited = () if tls.max_protocol_version == "TLS_AUTO" else ("maxProtocolVersion",)
        return (*_said(tls, _NARROWING), *limited)
    clients = _said(tls, _AUTHORITIES | _NARROWING | _NAMES)
    if tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
        return (*_said(tls, _SHOWN), *clients)
    several = enumerate(tls.tls_certificates)
    others = tuple(f"tlsCertificates[{n}].caCertificates" for n, one in several if one.ca_certificates)
    return (*clients, *others) if tls.mode == "SIMPLE" else others


def _said(tls: ServerTLSSettings, fields: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name, attribute in fields.items() if getattr(tls, attribute))


def _read_certificate(r: Reader) -> TLSCertificate:
    return TLSCertificate(
        server_certificate=r.string("serverCertificate"),
        private_key=r.string("privateKey"),
        ca_certificates=r.string("caCertificates"),
    )


_SERVER_MODES = ("PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL")
_VERSIONS = ("TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
_LEAST = "TLSV1_2"
