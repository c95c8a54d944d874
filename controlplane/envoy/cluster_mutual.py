"""Mutual TLS of clusters: with whom it is spoken, and who the other side must prove to be.

    without a word in a DestinationRule    per endpoint, for those that take it (Istio's auto mTLS)
    ISTIO_MUTUAL                           with every endpoint
    where traffic was sent                 if all endpoints that are known take it: Envoy makes up its own

Only proxies with an identity have such clusters.  A proxy without one has no certificate to show, so that
ISTIO_MUTUAL means plaintext to it, as everything does: it is refused by who insists, and never hangs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.cluster_specs import Spec
from controlplane.envoy.endpoints import MUTUAL, TLS_MODE
from controlplane.envoy.inbound_tls import add_secrets, limit_versions, san_type
from controlplane.graph import Q
from controlplane.mesh.endpoints import mutual_endpoints, server_identities
from controlplane.mesh.peer_authentication import namespace_takes_mutual
from controlplane.mesh.service import Service
from controlplane.mesh.settings import MeshTls, auto_mtls, mesh_tls
from controlplane.model.kinds.tls import ClientTLSSettings


class Mutual(NamedTuple):
    """How a cluster speaks mutual TLS; `peers`: names of which a server must have one, () = any of the mesh.

    `by_endpoint`: only with endpoints that say so, and plaintext with the others.
    """

    settings: MeshTls
    sni: str
    peers: tuple[str, ...] = ()
    by_endpoint: bool = False


def mutual_tls(q: Q, found: Service, spec: Spec, tls: ClientTLSSettings | None) -> Mutual | None:
    """Whether and how clients with an identity use mutual TLS; `tls` is what their DestinationRule says."""
    if tls is None:
        if found.external or not q(auto_mtls) or not q(namespace_takes_mutual, found.id.namespace):
            return None
        if spec.discovery == "ORIGINAL_DST" and q(mutual_endpoints, found.id, spec.port) != "all":
            return None
    elif tls.mode != "ISTIO_MUTUAL":
        return None
    said = () if tls is None else tls.subject_alt_names
    # What a service entry says of its servers, and who is known to run them.
    known = {*found.subject_alt_names, *q(server_identities, found.id, spec.port)}
    return Mutual(
        settings=q(mesh_tls),
        sni=(tls and tls.sni) or f"outbound_.{spec.port}_.{spec.subset}_.{found.id.host}",
        peers=said or tuple(sorted(known)),
        by_endpoint=tls is None and spec.discovery != "ORIGINAL_DST",
    )


def upstream_tls(mutual: Mutual, alpn: tuple[str, ...]) -> Any:
    """The transport socket of mutual TLS with servers."""
    context = pb.tls.UpstreamTlsContext(sni=mutual.sni)
    common = context.common_tls_context
    common.alpn_protocols.extend(alpn)
    limit_versions(common.tls_params, mutual.settings)
    add_secrets(
        common, [(san_type(name), pb.string_matcher.StringMatcher(exact=name)) for name in mutual.peers]
    )
    return pb.base.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pb.pack(context))


def match_endpoints(cluster: Any, secured: Any, plain: Any) -> None:
    """Let each endpoint choose between two transport sockets."""
    chosen = cluster.transport_socket_matches.add(name="tlsMode-istio", transport_socket=secured)
    chosen.match[TLS_MODE] = MUTUAL
    rest = cluster.transport_socket_matches.add(name="tlsMode-disabled", transport_socket=plain)
    rest.match.SetInParent()
