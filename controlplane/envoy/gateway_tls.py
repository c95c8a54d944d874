"""The certificates that a gateway shows, and those that it asks for.

A credential is a Secret of the gateway's own namespace, under Istio's names (`controlplane.envoy.secrets`).
It comes by SDS, so that a renewed one moves no listener.  A listener waits for the secrets that it names,
and its other servers with it; so it names only those that there are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.cluster_secrets import names_for_gateways
from controlplane.envoy.inbound_tls import downstream_tls, san_type
from controlplane.envoy.resource import Resource
from controlplane.envoy.secrets import KUBERNETES, gateway_secrets
from controlplane.graph import Plan, Q, each, group, keyed, query
from controlplane.mesh.gateways import (
    ServerId,
    authorities_of,
    credentials_of,
    selecting,
    server_of,
    speaks_for,
)
from controlplane.mesh.projections import Edge, GatewayScope
from controlplane.mesh.settings import MeshTls, mesh_tls
from controlplane.model.keys import Key
from controlplane.model.kinds import gateways
from controlplane.model.kinds.gateway import ASKING, Gateway, Server
from controlplane.model.kinds.tls import CIPHER_SUITES, ECDH_CURVES, ServerTLSSettings

_ALPN = ("h2", "http/1.1")
_Parameters = pb.tls_common.TlsParameters


@keyed
def credential_secrets(q: Q, edge: Edge, namespace: str) -> Plan:
    """Secret name -> Resource: of the Secrets of a namespace those that a gateway's servers name.

    With them go those that clusters need.  What nobody names stays where it is, whoever says that he is a
    gateway.
    """
    return each((q.part(_named, (edge,), True), names_for_gateways(q, namespace)), _credential, namespace)


@keyed
def _named(q: Q, edge: Edge) -> Plan:
    """True -> the names of the secrets of all servers."""
    return group(selecting(q, edge), _named_by, edge._replace(selectors=()))


@query
def _named_by(q: Q, edge: Edge, key: Key) -> tuple[tuple[bool, str], ...]:
    found: Gateway | None = q.get(gateways, key)
    servers = () if found is None or not speaks_for(edge, key) else found.servers
    names = {name for server in servers for name in (*credentials_of(server), authorities_of(server)) if name}
    return tuple((True, KUBERNETES + name) for name in sorted(names))


@query
def _credential(q: Q, namespace: str, name: str) -> Resource | None:
    secret: Resource | None = q.at(gateway_secrets, (namespace,), name)
    return secret


class Shown(NamedTuple):
    """The secrets of a server, by their names in SDS: what it shows, and by what it checks clients, or ""."""

    certificates: tuple[str, ...] = ()
    authorities: str = ""


def shown(q: Q, gateway: GatewayScope, id: ServerId) -> Shown | None:
    """The secrets of a server; None where it cannot do without one that is missing.

    A gateway without an identity is given no secrets.
    """
    return q(_shown, gateway.namespace if gateway.security.identified else "", id)


@query
def _shown(q: Q, namespace: str, id: ServerId) -> Shown | None:
    server = server_of(q, id)
    if server is None or server.tls is None:
        return None
    if server.tls.mode == "ISTIO_MUTUAL":
        return Shown() if namespace else None
    names = (KUBERNETES + name for name in credentials_of(server))
    certificates = tuple(name for name in names if q(_there, namespace, name))
    authorities = authorities_of(server)
    if not certificates and not file_certificates(server.tls):
        return None
    if authorities is None:
        return Shown(certificates)
    name = KUBERNETES + authorities
    return Shown(certificates, name) if q(_there, namespace, name) else None


@query
def _there(q: Q, namespace: str, name: str) -> bool:
    return bool(namespace) and q.at(gateway_secrets, (namespace,), name) is not None


def transport_socket(q: Q, server: Server, secrets: Shown) -> Any:
    """The transport socket of a server that ends TLS."""
    assert server.tls is not None, "a server that ends TLS has settings"
    alpn = _ALPN if server.port.protocol == "HTTPS" else ()
    if server.tls.mode == "ISTIO_MUTUAL":
        return downstream_tls(_narrowed(q(mesh_tls), server.tls), alpn, server.tls.subject_alt_names)
    return _downstream(server.tls, secrets, alpn)


def _downstream(tls: ServerTLSSettings, secrets: Shown, alpn: tuple[str, ...]) -> Any:
    context = pb.tls.DownstreamTlsContext()
    common = context.common_tls_context
    common.alpn_protocols.extend(alpn)
    parameters = _parameters(tls)
    if parameters != _Parameters():
        common.tls_params.CopyFrom(parameters)
    for name in secrets.certificates:
        discover_secret(common.tls_certificate_sds_secret_configs.add(), name)
    for chain, key in file_certificates(tls):
        certificate = common.tls_certificates.add()
        certificate.certificate_chain.filename, certificate.private_key.filename = chain, key
    if tls.mode in ASKING:
        context.require_client_certificate.value = tls.mode == "MUTUAL"
        _ask(common, tls, secrets.authorities)
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def discover_secret(config: Any, name: str) -> None:
    """Let a secret come on the stream of all other configuration."""
    config.name = name
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = pb.config_source.ApiVersion.V3


def file_certificates(tls: ServerTLSSettings) -> tuple[tuple[str, str], ...]:
    """(chain, key) files at the proxy."""
    single = (tls.server_certificate, tls.private_key)
    pairs = ((one.server_certificate, one.private_key) for one in tls.tls_certificates)
    return tuple((chain, key) for chain, key in (single, *pairs) if chain and key)


def _ask(common: Any, tls: ServerTLSSettings, authorities: str) -> None:
    """How a client's certificate is checked."""
    validation = pb.tls_common.CertificateValidationContext(
        verify_certificate_spki=tls.verify_certificate_spki,
        verify_certificate_hash=tls.verify_certificate_hash,
    )
    for name in tls.subject_alt_names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=san_type(name))
        matcher.matcher.exact = name
    if tls.insecure_skip_verify:
        validation.trust_chain_verification = pb.tls_common.CertificateValidationContext.ACCEPT_UNTRUSTED
    if tls.ca_crl:
        validation.crl.filename = tls.ca_crl
    if not authorities:
        if tls.ca_certificates:
            validation.trusted_ca.filename = tls.ca_certificates
        common.validation_context.CopyFrom(validation)
        return
    combined = common.combined_validation_context
    combined.default_validation_context.CopyFrom(validation)
    discover_secret(combined.validation_context_sds_secret_config, authorities)


def _parameters(tls: ServerTLSSettings) -> Any:
    """TlsParameters, without what Envoy does not know."""
    return _Parameters(
        tls_minimum_protocol_version=_version(tls.min_protocol_version),
        tls_maximum_protocol_version=_version(tls.max_protocol_version),
        cipher_suites=[name for name in dict.fromkeys(tls.cipher_suites) if name in CIPHER_SUITES],
        ecdh_curves=[name for name in dict.fromkeys(tls.ecdh_curves) if name in ECDH_CURVES],
    )


def _narrowed(mesh: MeshTls, tls: ServerTLSSettings) -> MeshTls:
    """The mesh's own settings, and what a server says beside."""
    said = _parameters(tls)
    return mesh._replace(
        min_protocol_version="TLSV1_3"
        if tls.min_protocol_version == "TLSV1_3"
        else mesh.min_protocol_version,
        cipher_suites=tuple(said.cipher_suites) or mesh.cipher_suites,
        ecdh_curves=tuple(said.ecdh_curves) or mesh.ecdh_curves,
    )


def _version(text: str) -> int:
    """The API writes TLSV1_2 where Envoy writes TLSv1_2."""
    return int(_Parameters.TlsProtocol.Value(text.replace("TLSV", "TLSv")))
