"""The certificates that a gateway shows, and those that it asks for.

A credential is a Secret of the gateway's own namespace, under Istio's names: `kubernetes://name` holds the
certificate and its key, `kubernetes://name-cacert` the authorities that clients' certificates are checked
by.  Credentials come by SDS, so that a renewed one moves no listener.
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.mesh.gateways import credentials_of
from controlplane.model.hosts import is_address
from controlplane.model.kinds.gateway import Server
from controlplane.model.kinds.tls import ServerTLSSettings

CREDENTIAL = "kubernetes://"
AUTHORITIES = "-cacert"
_ALPN = ("h2", "http/1.1")
_San = pb.tls_common.SubjectAltNameMatcher
_Parameters = pb.tls_common.TlsParameters
_ASKING = ("MUTUAL", "OPTIONAL_MUTUAL")

CIPHERS = frozenset(
    {
        *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
        *("ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"),
        *("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"),
    }
)
"""What Envoy knows for TLS up to 1.2; one that it does not know would make it refuse the listener."""
CURVES = frozenset({"X25519", "P-256", "P-384", "P-521", "X25519MLKEM768"})


def downstream_socket(server: Server) -> Any:
    """The transport socket of a server that ends TLS."""
    assert server.tls is not None, "a server that ends TLS has settings"
    tls = server.tls
    context = pb.tls.DownstreamTlsContext()
    common = context.common_tls_context
    common.alpn_protocols.extend(_ALPN)
    _set_parameters(common.tls_params, tls)
    for name in credentials_of(server):
        discover_secret(common.tls_certificate_sds_secret_configs.add(), CREDENTIAL + name)
    for chain, key in file_certificates(tls):
        certificate = common.tls_certificates.add()
        certificate.certificate_chain.filename, certificate.private_key.filename = chain, key
    if tls.mode in _ASKING:
        context.require_client_certificate.value = tls.mode == "MUTUAL"
        _ask(common, server, tls)
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def discover_secret(config: Any, name: str) -> None:
    """Let a secret come on the stream of all other configuration."""
    config.name = name
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = pb.config_source.ApiVersion.V3


def authorities_of(server: Server) -> str | None:
    """The Secret with the authorities of clients' certificates; None where it is no Secret."""
    if server.tls is None or server.tls.mode not in _ASKING:
        return None
    if server.tls.ca_cert_credential_name is not None:
        return server.tls.ca_cert_credential_name
    names = credentials_of(server)
    return names[0] + AUTHORITIES if names else None


def file_certificates(tls: ServerTLSSettings) -> tuple[tuple[str, str], ...]:
    """(chain, key) files at the proxy."""
    single = (tls.server_certificate, tls.private_key)
    pairs = ((one.server_certificate, one.private_key) for one in tls.tls_certificates)
    return tuple((chain, key) for chain, key in (single, *pairs) if chain and key)


def _ask(common: Any, server: Server, tls: ServerTLSSettings) -> None:
    """How a client's certificate is checked."""
    validation = pb.tls_common.CertificateValidationContext(
        verify_certificate_spki=tls.verify_certificate_spki,
        verify_certificate_hash=tls.verify_certificate_hash,
    )
    for name in tls.subject_alt_names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=_san_type(name))
        matcher.matcher.exact = name
    if tls.mode == "OPTIONAL_MUTUAL" or tls.insecure_skip_verify:
        validation.trust_chain_verification = pb.tls_common.CertificateValidationContext.ACCEPT_UNTRUSTED
    if tls.ca_crl:
        validation.crl.filename = tls.ca_crl
    credential = authorities_of(server)
    if credential is None:
        if tls.ca_certificates:
            validation.trusted_ca.filename = tls.ca_certificates
        common.validation_context.CopyFrom(validation)
        return
    combined = common.combined_validation_context
    combined.default_validation_context.CopyFrom(validation)
    discover_secret(combined.validation_context_sds_secret_config, CREDENTIAL + credential)


def _san_type(name: str) -> int:
    if "://" in name:
        return int(_San.URI)
    return int(_San.IP_ADDRESS if is_address(name) else _San.DNS)


def _set_parameters(params: Any, tls: ServerTLSSettings) -> None:
    params.tls_minimum_protocol_version = _version(tls.min_protocol_version)
    params.tls_maximum_protocol_version = _version(tls.max_protocol_version)
    params.cipher_suites.extend(name for name in dict.fromkeys(tls.cipher_suites) if name in CIPHERS)
    params.ecdh_curves.extend(name for name in dict.fromkeys(tls.ecdh_curves) if name in CURVES)


def _version(text: str) -> int:
    """The API writes TLSV1_2 where Envoy writes TLSv1_2."""
    return int(_Parameters.TlsProtocol.Value(text.replace("TLSV", "TLSv")))
