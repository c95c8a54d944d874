"""The mesh's own settings, cut into the small pieces that queries depend on.

MeshConfig is one object; a query that read it whole would run again for every edit of it.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.model.keys import Key
from controlplane.model.kinds import mesh_configs, namespaces
from controlplane.model.kinds.cluster import Namespace
from controlplane.model.kinds.connection_pool import TcpKeepalive
from controlplane.model.kinds.default_policy import DefaultTrafficPolicy
from controlplane.model.kinds.entry_visibility import EntryVisibility
from controlplane.model.kinds.gateway_topology import GatewayTopology
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.kinds.proxy_manners import ConnectionSettings, Manners, settled
from controlplane.model.proxy import is_true
from controlplane.model.selectors import is_discovered

MESH = Key("", "mesh")
"""The key of the one MeshConfig."""

_DEFAULTS = MeshConfig()
_NOTHING = ConnectionSettings()


@query
def mesh_config(q: Q) -> MeshConfig:
    """The MeshConfig; Istio's defaults where there is none."""
    config: MeshConfig | None = q.get(mesh_configs, MESH)
    return _DEFAULTS if config is None else config


@query
def root_namespace(q: Q) -> str:
    """The namespace whose rules hold for the whole mesh."""
    return q(mesh_config).root_namespace


@query
def service_export_to(q: Q) -> tuple[str, ...]:
    """Where services are visible that do not say so."""
    return q(mesh_config).default_service_export_to


@query
def virtual_service_export_to(q: Q) -> tuple[str, ...]:
    """Where VirtualServices hold that do not say so."""
    return q(mesh_config).default_virtual_service_export_to


@query
def destination_rule_export_to(q: Q) -> tuple[str, ...]:
    """Where DestinationRules hold that do not say so."""
    return q(mesh_config).default_destination_rule_export_to


class OriginatedTls(NamedTuple):
    """TLS with certificates that are not the mesh's: ciphers and curves, () = Envoy's.

    `verified`: who names no authorities trusts the public ones, else nobody is asked for a known certificate.
    """

    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    verified: bool = True


class ClusterDefaults(NamedTuple):
    """What clusters inherit from the mesh; durations in nanoseconds.

    `stat_name` is a pattern for the names of their statistics, "" = their own.  `buffer` is how many bytes
    a connection may hold, None = Envoy's; `case`: names of headers keep their capitals in HTTP/1.
    """

    connect_timeout: int
    tcp_keepalive: TcpKeepalive | None
    h2_upgrade: bool
    dns_refresh_rate: int
    stat_name: str = ""
    tls: OriginatedTls = OriginatedTls()
    buffer: int | None = None
    case: bool = False


@query
def cluster_defaults(q: Q) -> ClusterDefaults:
    """The mesh-wide defaults of clusters."""
    config = q(mesh_config)
    return ClusterDefaults(
        connect_timeout=config.connect_timeout,
        tcp_keepalive=config.tcp_keepalive,
        h2_upgrade=config.h2_upgrade_policy == "UPGRADE",
        dns_refresh_rate=config.dns_refresh_rate,
        stat_name=config.outbound_cluster_stat_name,
        tls=OriginatedTls(
            config.tls_defaults.cipher_suites,
            config.tls_defaults.ecdh_curves,
            config.verify_certificate_at_client,
        ),
        buffer=settled(config.default_config.connection_settings).cluster_buffer,
        case=config.default_config.proxy_headers.case,
    )


@query
def inbound_stat_name(q: Q) -> str:
    """A pattern for the names of the statistics of clusters that lead to the application; "" = their own."""
    return q(mesh_config).inbound_cluster_stat_name


@query
def default_policy(q: Q) -> DefaultTrafficPolicy:
    """What clusters inherit where no DestinationRule says otherwise."""
    return q(mesh_config).default_traffic_policy


class MeshTls(NamedTuple):
    """Mutual TLS in this mesh: whose certificates are its own (its trust domain first), and how it is spoken.

    `min_protocol_version` is TLSV1_2 or TLSV1_3; no ciphers or curves = Envoy's.
    """

    trust_domains: tuple[str, ...]
    min_protocol_version: str = "TLSV1_2"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


@query
def mesh_tls(q: Q) -> MeshTls:
    """How proxies of the mesh know and speak to each other."""
    config = q(mesh_config)
    said = config.mesh_mtls
    return MeshTls(
        trust_domains=tuple(dict.fromkeys((config.trust_domain, *config.trust_domain_aliases))),
        min_protocol_version="TLSV1_3" if said.min_protocol_version == "TLSV1_3" else "TLSV1_2",
        cipher_suites=said.cipher_suites,
        ecdh_curves=said.ecdh_curves,
    )


@query
def auto_mtls(q: Q) -> bool:
    """Whether clients use mutual TLS unasked, where the other side takes it."""
    return q(mesh_config).enable_auto_mtls


@query
def path_normalization(q: Q) -> str:
    """What proxies make of a path before anything looks at it, a word of `PATHS` in the MeshConfig's kind."""
    return q(mesh_config).path_normalization


@query
def gateway_topology(q: Q) -> GatewayTopology:
    """What stands in front of gateways, and how far it is believed."""
    return q(mesh_config).default_config.gateway_topology


@query
def http_manners(q: Q, own: ConnectionSettings = _NOTHING) -> Manners:
    """How proxies behave towards those who call them; `own`: what one of them says for itself."""
    config = q(mesh_config).default_config
    return Manners(config.proxy_headers, settled(config.connection_settings, own))


class RouteHeaders(NamedTuple):
    """What routes write into requests: how often they were tried, and the host before it was rewritten."""

    attempt_count: bool = True
    forwarded_host: bool = False


@query
def route_headers(q: Q) -> RouteHeaders:
    """The part of that which concerns routes: an edit of the rest touches none of them."""
    said = q(http_manners).headers
    return RouteHeaders(said.attempt_count, said.forwarded_host)


@query
def inbound_to_localhost(q: Q) -> bool:
    """Whether inbound traffic goes to 127.0.0.1 instead of the address that it was sent to."""
    return q(mesh_config).inbound_traffic_policy == "LOCALHOST"


@query
def http_proxy_port(q: Q) -> int:
    """The port of the loopback address on which sidecars are HTTP proxies; 0 = none."""
    return q(mesh_config).proxy_http_port


@query
def listener_ports(q: Q) -> tuple[int, int]:
    """The ports to which what leaves and what enters a workload is redirected."""
    config = q(mesh_config)
    return config.proxy_listen_port, config.proxy_inbound_listen_port


def resolved_export_to(
    declared: tuple[str, ...], default: tuple[str, ...], namespace: str
) -> tuple[str, ...]:
    """`exportTo` with "." replaced by the object's namespace: ("*",), namespaces, or () for nobody."""
    targets = {namespace if target == "." else target for target in declared or default} - {"~"}
    return ("*",) if "*" in targets else tuple(sorted(targets))


def exported(export_to: tuple[str, ...], namespace: str) -> bool:
    """Whether something with this resolved `exportTo` is visible in `namespace`."""
    return "*" in export_to or namespace in export_to


@query
def entry_visibility(q: Q, namespace: str) -> str:
    """How far ServiceEntries of a namespace may be seen at most: NONE, NAMESPACE or PUBLIC."""
    limits = q(_entry_limits)
    if limits is None:
        return "PUBLIC"
    if limits.policies:
        found: Namespace | None = q.get(namespaces, Key("", namespace))
        labels = () if found is None else found.meta.labels
        for visibility, selectors in limits.policies:
            if selectors and is_discovered(namespace, labels, selectors):
                return visibility
    return limits.default


@query
def _entry_limits(q: Q) -> EntryVisibility | None:
    return q(mesh_config).service_entry_visibility


def limited_export(export_to: tuple[str, ...], visibility: str, namespace: str) -> tuple[str, ...]:
    """A resolved `exportTo` of an object of this namespace, within what it may be at most."""
    if visibility == "PUBLIC":
        return export_to
    return (namespace,) if visibility == "NAMESPACE" and exported(export_to, namespace) else ()


@query
def answers_names(q: Q) -> bool:
    """Whether proxies answer names if nobody says otherwise: what the mesh's defaults tell them of DNS."""
    said = dict(q(mesh_config).default_config.proxy_metadata)
    return is_true(said.get("ISTIO_META_DNS_CAPTURE", ""))
