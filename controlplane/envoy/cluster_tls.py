"""How a cluster's connections are secured, as a DestinationRule asks.

The certificates of SIMPLE and MUTUAL are files at the proxy, or a Secret of its namespace that comes by SDS:
at gateways, and at sidecars that a rule chose by their labels.  Those of ISTIO_MUTUAL, and of what nobody
says anything about, are the mesh's own (`controlplane.envoy.cluster_mutual`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.cluster_mutual import Mutual, match_endpoints, upstream_tls
from controlplane.envoy.inbound_tls import san_type
from controlplane.envoy.secrets import CA, KUBERNETES
from controlplane.mesh.settings import OriginatedTls
from controlplane.model.duration import SECOND
from controlplane.model.kinds.destination_rule import TrafficPolicy
from controlplane.model.kinds.tls import ORIGINATED, ClientTLSSettings

SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian and Ubuntu, and so Envoy's own images, keep the public authorities."""


_PATIENCE = SECOND
_SYSTEM = "system"
"""What Istio takes for the public authorities where the name of a file is expected."""


def names_by_request(tls: ClientTLSSettings | None) -> bool:
    """Whether server name and certificate are checked against each request's host: nothing else is said."""
    return tls is not None and tls.mode in ORIGINATED and not tls.sni


class Security(NamedTuple):
    """`names` are the service's own subjectAltNames, for rules that give none.

    `mutual` None: mutual TLS of the mesh is not used; `alpn` is what it offers.  `credential` names the
    Secret with certificates that are not the mesh's, "" for files; `defaults` hold for those.
    """

    names: tuple[str, ...] = ()
    mutual: Mutual | None = None
    alpn: tuple[str, ...] = ()
    credential: str = ""
    defaults: OriginatedTls = OriginatedTls()


def apply_security(cluster: Any, policy: TrafficPolicy, security: Security, *, http2: bool) -> None:
    """Write the transport socket, if connections are not plain TCP, or both where endpoints choose."""
    mutual = security.mutual
    if mutual is None:
        socket = _tls(policy.tls, security, http2=http2)
    else:
        socket = upstream_tls(mutual, security.alpn)
    announced = policy.proxy_protocol
    if announced is not None:
        socket = _announced(announced, socket)
    if mutual is not None and mutual.by_endpoint:
        match_endpoints(cluster, socket, _plain() if announced is None else _announced(announced, None))
    elif socket is not None:
        cluster.transport_socket.CopyFrom(socket)


def _tls(tls: ClientTLSSettings | None, security: Security, *, http2: bool) -> Any | None:
    if tls is None or tls.mode not in ORIGINATED:
        return None
    context = pb.tls.UpstreamTlsContext(sni=tls.sni or "")
    common = context.common_tls_context
    common.tls_params.tls_minimum_protocol_version = pb.tls_common.TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = pb.tls_common.TlsParameters.TLSv1_3
    common.tls_params.cipher_suites.extend(security.defaults.cipher_suites)
    common.tls_params.ecdh_curves.extend(security.defaults.ecdh_curves)
    if http2:
        common.alpn_protocols.append("h2")
    if tls.mode == "MUTUAL" and security.credential:
        _discover(common.tls_certificate_sds_secret_configs.add(), KUBERNETES + security.credential)
    elif tls.mode == "MUTUAL" and tls.client_certificate and tls.private_key:
        certificate = common.tls_certificates.add()
        certificate.certificate_chain.filename = tls.client_certificate
        certificate.private_key.filename = tls.private_key
    _validate(common, tls, security)
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def _validate(common: Any, tls: ClientTLSSettings, security: Security) -> None:
    """Whose certificates a server may show, and with which names."""
    if tls.insecure_skip_verify:
        _trust_anybody(common.validation_context)
        return
    if security.credential:
        combined = common.combined_validation_context
        _match_names(combined.default_validation_context, tls, security)
        _discover(combined.validation_context_sds_secret_config, authorities_of(security.credential))
        return
    validation = common.validation_context
    if tls.ca_certificates or security.defaults.verified:
        known = None if tls.ca_certificates == _SYSTEM else tls.ca_certificates
        validation.trusted_ca.filename = known or SYSTEM_ROOTS
        if tls.ca_crl:
            validation.crl.filename = tls.ca_crl
        _match_names(validation, tls, security)
    else:
        _trust_anybody(validation)


def _trust_anybody(validation: Any) -> None:
    validation.trust_chain_verification = pb.tls_common.CertificateValidationContext.ACCEPT_UNTRUSTED


def _match_names(validation: Any, tls: ClientTLSSettings, security: Security) -> None:
    validation.SetInParent()
    for name in tls.subject_alt_names or security.names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=san_type(name))
        matcher.matcher.exact = name


def authorities_of(credential: str) -> str:
    """The name in SDS of the authorities that a credential holds."""
    return KUBERNETES + credential + ("" if credential.endswith(CA) else CA)


def _discover(config: Any, name: str) -> None:
    """Let a secret come on the stream of all other configuration.

    A cluster waits for it, and what follows waits for the cluster; a Secret that is not there may not keep a
    proxy from starting for longer than this.
    """
    config.name = name
    config.sds_config.ads.SetInParent()
    config.sds_config.resource_api_version = pb.config_source.ApiVersion.V3
    config.sds_config.initial_fetch_timeout.CopyFrom(pb.duration(_PATIENCE))


def _plain() -> Any:
    raw = pb.pack(pb.raw_buffer.RawBuffer())
    return pb.base.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=raw)


def _announced(version: str, inner: Any | None) -> Any:
    """The PROXY protocol's header in front of whatever the inner socket sends."""
    outer = pb.upstream_proxy_protocol.ProxyProtocolUpstreamTransport(transport_socket=inner or _plain())
    outer.config.version = pb.proxy_protocol.ProxyProtocolConfig.Version.Value(version)
    name = "envoy.transport_sockets.upstream_proxy_protocol"
    return pb.base.TransportSocket(name=name, typed_config=pb.pack(outer))
