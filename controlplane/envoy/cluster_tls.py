"""How a cluster's connections are secured, as a DestinationRule asks.

Certificates are files at the proxy: there is no agent beside it that would serve them as secrets.
ISTIO_MUTUAL is served in plaintext as long as this control plane issues no certificates; the rule is
then reported (`controlplane.mesh.rules.unsupported`).
"""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.model.hosts import is_address
from controlplane.model.kinds.destination_rule import TrafficPolicy
from controlplane.model.kinds.tls import ClientTLSSettings

SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian and Ubuntu, and so Envoy's own images, keep the public authorities."""

_San = pb.tls_common.SubjectAltNameMatcher
_ORIGINATED = ("SIMPLE", "MUTUAL")


def names_by_request(tls: ClientTLSSettings | None) -> bool:
    """Whether server name and certificate are checked against each request's host: nothing else is said."""
    return tls is not None and tls.mode in _ORIGINATED and not tls.sni


def apply_security(cluster: Any, policy: TrafficPolicy, names: tuple[str, ...], *, http2: bool) -> None:
    """Write the transport socket, if connections are not plain TCP.

    `names` are the service's own subjectAltNames, for rules that give none.
    """
    socket = _tls(policy.tls, names, http2=http2)
    if policy.proxy_protocol is not None:
        socket = _announced(policy.proxy_protocol, socket)
    if socket is not None:
        cluster.transport_socket.CopyFrom(socket)


def _tls(tls: ClientTLSSettings | None, names: tuple[str, ...], *, http2: bool) -> Any | None:
    if tls is None or tls.mode not in _ORIGINATED:
        return None
    context = pb.tls.UpstreamTlsContext(sni=tls.sni or "")
    common = context.common_tls_context
    common.tls_params.tls_minimum_protocol_version = pb.tls_common.TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = pb.tls_common.TlsParameters.TLSv1_3
    if http2:
        common.alpn_protocols.append("h2")
    if tls.mode == "MUTUAL" and tls.client_certificate and tls.private_key:
        certificate = common.tls_certificates.add()
        certificate.certificate_chain.filename = tls.client_certificate
        certificate.private_key.filename = tls.private_key
    _validate(common.validation_context, tls, names)
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def _validate(validation: Any, tls: ClientTLSSettings, names: tuple[str, ...]) -> None:
    if tls.insecure_skip_verify:
        validation.trust_chain_verification = pb.tls_common.CertificateValidationContext.ACCEPT_UNTRUSTED
        return
    validation.trusted_ca.filename = tls.ca_certificates or SYSTEM_ROOTS
    if tls.ca_crl:
        validation.crl.filename = tls.ca_crl
    for name in tls.subject_alt_names or names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=_san_type(name))
        matcher.matcher.exact = name


def _san_type(name: str) -> int:
    if "://" in name:
        return int(_San.URI)
    return int(_San.IP_ADDRESS if is_address(name) else _San.DNS)


def _announced(version: str, inner: Any | None) -> Any:
    """The PROXY protocol's header in front of whatever the inner socket sends."""
    raw = pb.pack(pb.raw_buffer.RawBuffer())
    inner = inner or pb.base.TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=raw)
    outer = pb.upstream_proxy_protocol.ProxyProtocolUpstreamTransport(transport_socket=inner)
    outer.config.version = pb.proxy_protocol.ProxyProtocolConfig.Version.Value(version)
    name = "envoy.transport_sockets.upstream_proxy_protocol"
    return pb.base.TransportSocket(name=name, typed_config=pb.pack(outer))
