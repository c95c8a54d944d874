"""What inbound connections are taken, port by port, and the TLS context of those that are mutual.

A proxy without an identity has no certificate to serve with: it takes plaintext where that is allowed, and
where it is not it takes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.secrets import DEFAULT, ROOT_CA
from controlplane.mesh.peer_authentication import PeerModes
from controlplane.mesh.settings import MeshTls
from controlplane.model.hosts import is_address
from controlplane.model.kinds.tls import CIPHER_SUITES, ECDH_CURVES, ServerTLSSettings

DISABLE = "DISABLE"
PERMISSIVE = "PERMISSIVE"
STRICT = "STRICT"
CLOSED = "CLOSED"
"""Mutual TLS is demanded of a proxy that has no certificate: nothing is taken."""

ENCRYPTED = (PERMISSIVE, STRICT)

_San = pb.tls_common.SubjectAltNameMatcher
_HTTP_SERVED = ("h2", "http/1.1")


class InboundTls(NamedTuple):
    """What a workload takes: a mode by default, and by the workload's own port where that differs.

    `settings` are those of the mesh, None where nothing is encrypted, so that such workloads share bytes.
    """

    default: str = DISABLE
    ports: tuple[tuple[int, str], ...] = ()
    settings: MeshTls | None = None

    def at(self, port: int) -> str:
        """The mode of one port of the workload."""
        return dict(self.ports).get(port, self.default)

    @property
    def guarded(self) -> bool:
        """Whether some port takes less, or more, than all that comes in plaintext."""
        return any(mode != DISABLE for mode in (self.default, *dict(self.ports).values()))

    @property
    def encrypted(self) -> bool:
        """Whether some port takes mutual TLS."""
        return self.settings is not None


_WITHOUT_IDENTITY = {"DISABLE": DISABLE, "PERMISSIVE": DISABLE, "STRICT": CLOSED}


def inbound_tls(modes: PeerModes, settings: MeshTls, *, identified: bool) -> InboundTls:
    """What policies mean for a workload; `identified`: its proxy has a certificate."""
    if not identified:
        default = _WITHOUT_IDENTITY[modes.default]
        named = ((port, _WITHOUT_IDENTITY[mode]) for port, mode in modes.ports)
        return InboundTls(default, tuple((port, mode) for port, mode in named if mode != default))
    encrypted = any(mode != DISABLE for mode in (modes.default, *dict(modes.ports).values()))
    return InboundTls(modes.default, modes.ports, settings if encrypted else None)


def downstream_tls(
    settings: MeshTls, alpn: tuple[str, ...] = _HTTP_SERVED, names: tuple[str, ...] = ()
) -> Any:
    """The transport socket of mutual TLS: a certificate of a trust domain of the mesh, or none of this.

    `names`: the caller's certificate has one of these, not just any of the mesh.

    Every connection is a whole handshake.  Envoy does not look at certificates again when a session is
    resumed: a caller whose certificate has expired could go on for as long as the server keeps its own.
    """
    context = pb.tls.DownstreamTlsContext()
    context.require_client_certificate.value = True
    context.disable_stateless_session_resumption = True
    context.disable_stateful_session_resumption = True
    common = context.common_tls_context
    # Never "istio", which clients name too: chosen, it would say nothing about which HTTP is spoken.
    common.alpn_protocols.extend(alpn)
    limit_versions(common.tls_params, settings)
    add_secrets(common, [*_callers(settings, names)])
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def _callers(settings: MeshTls, names: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    if names:
        for name in names:
            yield san_type(name), pb.string_matcher.StringMatcher(exact=name)
        return
    for domain in settings.trust_domains:
        prefix = f"spiffe://{domain}/"
        yield int(_San.URI), pb.string_matcher.StringMatcher(prefix=prefix)


def san_type(name: str) -> int:
    """What kind of name in a certificate this is, as Envoy's enum."""
    if "://" in name:
        return int(_San.URI)
    return int(_San.IP_ADDRESS if is_address(name) else _San.DNS)


def limit_versions(params: Any, settings: MeshTls) -> None:
    """The versions, ciphers and curves that the mesh allows; clients of Envoy would stop at 1.2."""
    versions = pb.tls_common.TlsParameters
    strict = settings.min_protocol_version == "TLSV1_3"
    params.tls_minimum_protocol_version = versions.TLSv1_3 if strict else versions.TLSv1_2
    params.tls_maximum_protocol_version = versions.TLSv1_3
    params.cipher_suites.extend(settings.cipher_suites)
    params.ecdh_curves.extend(settings.ecdh_curves)


def add_secrets(common: Any, peers: list[tuple[int, Any]]) -> None:
    """The proxy's own certificate and the mesh's roots, by SDS.

    `peers` match the names in the other side's certificate, of which one must: (kind of name, matcher).
    """
    _secret(common.tls_certificate_sds_secret_configs.add(), DEFAULT)
    combined = common.combined_validation_context
    combined.default_validation_context.SetInParent()
    for san_type, matcher in peers:
        combined.default_validation_context.match_typed_subject_alt_names.add(
            san_type=san_type, matcher=matcher
        )
    _secret(combined.validation_context_sds_secret_config, ROOT_CA)


def _secret(config: Any, name: str) -> None:
    config.name = name
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = pb.config_source.ApiVersion.V3
    # Wait for ever: a certificate always follows, and without one every connection would fail.
    config.sds_config.initial_fetch_timeout.SetInParent()


def file_tls(tls: ServerTLSSettings, *, http: bool) -> Any:
    """The transport socket of a workload's own TLS (SIMPLE or MUTUAL), from files beside the proxy."""
    context = pb.tls.DownstreamTlsContext()
    common = context.common_tls_context
    common.alpn_protocols.extend(_HTTP_SERVED if http else ())
    limits = common.tls_params
    versions = pb.tls_common.TlsParameters
    limits.tls_minimum_protocol_version = versions.TlsProtocol.Value(_as_envoy(tls.min_protocol_version))
    limits.tls_maximum_protocol_version = versions.TlsProtocol.Value(_as_envoy(tls.max_protocol_version))
    limits.cipher_suites.extend(name for name in dict.fromkeys(tls.cipher_suites) if name in CIPHER_SUITES)
    limits.ecdh_curves.extend(name for name in dict.fromkeys(tls.ecdh_curves) if name in ECDH_CURVES)
    for chain, key in tls.files:
        certificate = common.tls_certificates.add()
        certificate.certificate_chain.filename, certificate.private_key.filename = chain, key
    if tls.mode == "MUTUAL":
        context.require_client_certificate.value = True
        _check_clients(common.validation_context, tls)
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def _check_clients(validation: Any, tls: ServerTLSSettings) -> None:
    if tls.ca_certificates:
        validation.trusted_ca.filename = tls.ca_certificates
    if tls.ca_crl:
        validation.crl.filename = tls.ca_crl
    validation.verify_certificate_spki.extend(tls.verify_certificate_spki)
    validation.verify_certificate_hash.extend(tls.verify_certificate_hash)
    for name in tls.subject_alt_names:
        validation.match_typed_subject_alt_names.add(san_type=san_type(name)).matcher.exact = name


def _as_envoy(version: str) -> str:
    """The API writes TLSV1_2 where Envoy writes TLSv1_2."""
    return version.replace("TLSV", "TLSv")
