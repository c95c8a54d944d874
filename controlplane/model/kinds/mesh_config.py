"""MeshConfig: the settings of the whole mesh, and the defaults of its proxies."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from controlplane.graph import Table
from controlplane.model.checks import (
    check_export_to,
    check_format,
    check_host,
    check_log_file,
    check_namespace,
)
from controlplane.model.duration import SECOND
from controlplane.model.keys import Labels
from controlplane.model.kinds.connection_pool import TcpKeepalive, read_keepalive
from controlplane.model.kinds.default_policy import DefaultTrafficPolicy, read_default_policy
from controlplane.model.kinds.entry_visibility import EntryVisibility, read_visibility
from controlplane.model.kinds.extension_provider import (
    ExtensionProvider,
    FileAccessLog,
    read_default_log,
    read_extension_providers,
)
from controlplane.model.kinds.gateway_topology import GatewayTopology, read_topology
from controlplane.model.kinds.http_effects import HTTPRetry, read_retry
from controlplane.model.kinds.kind import Kind
from controlplane.model.kinds.label_selector import LabelSelector as LabelSelector
from controlplane.model.kinds.label_selector import LabelSelectorRequirement as LabelSelectorRequirement
from controlplane.model.kinds.label_selector import read_label_selector
from controlplane.model.kinds.locality_setting import (
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
    read_locality,
    read_zone_aware,
)
from controlplane.model.kinds.mesh_absent import MESH, OUTBOUND, PROXIES, note_absent
from controlplane.model.kinds.mesh_tls import MeshTLSConfig, read_mesh_tls
from controlplane.model.kinds.proxy_manners import (
    ConnectionSettings,
    ProxyHeaders,
    read_connections,
    read_headers,
)
from controlplane.model.kinds.proxy_start import ProxyStart, read_start
from controlplane.model.kinds.sidecar import OutboundTrafficPolicy
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Defaults of proxies (Istio's ProxyConfig), as far as they mean something here.

    `concurrency` None = not said, 0 = a thread for every processor.
    """

    concurrency: int | None = None
    proxy_metadata: Labels = ()
    gateway_topology: GatewayTopology = field(default=GatewayTopology())
    proxy_headers: ProxyHeaders = field(default=ProxyHeaders())
    connection_settings: ConnectionSettings = field(default=ConnectionSettings())
    start: ProxyStart = field(default=ProxyStart())


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """The mesh's settings; every default is Istio's, so `MeshConfig()` is a mesh that says nothing.

    Durations are in nanoseconds.  `inbound_traffic_policy` is PASSTHROUGH or LOCALHOST;
    `access_log_encoding` TEXT or JSON; `h2_upgrade_policy` DO_NOT_UPGRADE or UPGRADE;
    `access_log_file` "" = no access log; `default_http_retry_policy` None = the built-in one;
    `path_normalization` one of PATHS.
    """

    meta: Meta = field(default=Meta("", "mesh"))
    outbound_traffic_policy: OutboundTrafficPolicy = field(default=OutboundTrafficPolicy())
    inbound_traffic_policy: str = "PASSTHROUGH"
    connect_timeout: int = 10 * SECOND
    tcp_keepalive: TcpKeepalive | None = None
    default_service_export_to: tuple[str, ...] = ("*",)
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    enable_auto_mtls: bool = True
    mesh_mtls: MeshTLSConfig = field(default=MeshTLSConfig())
    extension_providers: tuple[ExtensionProvider, ...] = ()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: str = "TEXT"
    default_http_retry_policy: HTTPRetry | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    default_traffic_policy: DefaultTrafficPolicy = field(default=DefaultTrafficPolicy())
    tls_defaults: MeshTLSConfig = field(default=MeshTLSConfig())
    verify_certificate_at_client: bool = True
    outbound_cluster_stat_name: str = ""
    inbound_cluster_stat_name: str = ""
    protocol_detection_timeout: int = 0
    h2_upgrade_policy: str = "DO_NOT_UPGRADE"
    path_normalization: str = "BASE"
    dns_refresh_rate: int = 60 * SECOND
    proxy_listen_port: int = 15001
    proxy_inbound_listen_port: int = 15006
    proxy_http_port: int = 0
    disable_envoy_listener_log: bool = False
    discovery_selectors: tuple[LabelSelector, ...] = ()
    service_entry_visibility: EntryVisibility | None = None
    default_config: ProxyConfig = field(default=ProxyConfig())


mesh_configs = Table("mesh_configs")


_LONGEST_CONNECT = 3600 * SECOND
_EVERYONE = ("*",)
PATHS = ("NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
"""What proxies make of a path before anything looks at it, from nothing to most."""


def _read(r: Reader, meta: Meta) -> MeshConfig:
    base = MeshConfig(meta)
    providers = read_extension_providers(r)
    log = _read_log(r, providers)
    value = MeshConfig(
        meta=meta,
        outbound_traffic_policy=r.message("outboundTrafficPolicy", _read_outbound)
        or base.outbound_traffic_policy,
        inbound_traffic_policy=r.message("inboundTrafficPolicy", _read_inbound)
        or base.inbound_traffic_policy,
        connect_timeout=r.duration("connectTimeout") or base.connect_timeout,
        tcp_keepalive=r.message("tcpKeepalive", read_keepalive),
        default_service_export_to=r.strings("defaultServiceExportTo") or _EVERYONE,
        default_virtual_service_export_to=r.strings("defaultVirtualServiceExportTo") or _EVERYONE,
        default_destination_rule_export_to=r.strings("defaultDestinationRuleExportTo") or _EVERYONE,
        root_namespace=r.text("rootNamespace", base.root_namespace),
        trust_domain=r.text("trustDomain", base.trust_domain),
        trust_domain_aliases=r.strings("trustDomainAliases"),
        enable_auto_mtls=r.optional_boolean("enableAutoMtls") is not False,
        extension_providers=providers,
        mesh_mtls=r.message("meshMTLS", read_mesh_tls) or base.mesh_mtls,
        access_log_file=log.path,
        access_log_format=log.format,
        access_log_encoding=log.encoding,
        default_http_retry_policy=r.message("defaultHttpRetryPolicy", read_retry),
        locality_lb_setting=r.message("localityLbSetting", read_locality),
        zone_aware_lb_setting=r.message("zoneAwareLbSetting", read_zone_aware),
        default_traffic_policy=r.message("defaultTrafficPolicy", read_default_policy)
        or base.default_traffic_policy,
        tls_defaults=r.message("tlsDefaults", read_mesh_tls) or base.tls_defaults,
        verify_certificate_at_client=r.optional_boolean("verifyCertificateAtClient") is not False,
        outbound_cluster_stat_name=r.text("outboundClusterStatName"),
        inbound_cluster_stat_name=r.text("inboundClusterStatName"),
        protocol_detection_timeout=r.duration("protocolDetectionTimeout", 0) or 0,
        h2_upgrade_policy=r.enum("h2UpgradePolicy", ("DO_NOT_UPGRADE", "UPGRADE"), "DO_NOT_UPGRADE"),
        path_normalization=r.message("pathNormalization", _read_paths) or base.path_normalization,
        dns_refresh_rate=r.duration("dnsRefreshRate") or base.dns_refresh_rate,
        proxy_listen_port=r.port("proxyListenPort") or base.proxy_listen_port,
        proxy_inbound_listen_port=r.port("proxyInboundListenPort") or base.proxy_inbound_listen_port,
        proxy_http_port=r.port("proxyHttpPort") or 0,
        disable_envoy_listener_log=r.boolean("disableEnvoyListenerLog"),
        discovery_selectors=r.messages("discoverySelectors", read_label_selector),
        service_entry_visibility=r.message("serviceEntryVisibility", read_visibility),
        default_config=r.message("defaultConfig", _read_proxy_config) or base.default_config,
    )
    note_absent(r, MESH)
    _check(r, value)
    return value


def _check(r: Reader, value: MeshConfig) -> None:
    check_export_to(r, "defaultServiceExportTo", value.default_service_export_to, hideable=True)
    check_export_to(r, "defaultVirtualServiceExportTo", value.default_virtual_service_export_to)
    check_export_to(r, "defaultDestinationRuleExportTo", value.default_destination_rule_export_to)
    check_namespace(r, "rootNamespace", value.root_namespace)
    check_host(r, "trustDomain", value.trust_domain, wildcard=False)
    if value.connect_timeout > _LONGEST_CONNECT:
        r.error("connectTimeout", "is longer than an hour", "use at most 1h")
    for index, alias in enumerate(value.trust_domain_aliases):
        check_host(r, f"trustDomainAliases[{index}]", alias, wildcard=False)
    if value.proxy_listen_port == value.proxy_inbound_listen_port:
        r.error("proxyInboundListenPort", "equals proxyListenPort", "use another port")
    if value.proxy_http_port in (value.proxy_listen_port, value.proxy_inbound_listen_port):
        r.error("proxyHttpPort", "is a port to which traffic is redirected", "use another port")


def _read_log(r: Reader, providers: tuple[ExtensionProvider, ...]) -> FileAccessLog:
    """The access log: what a default provider says counts before the mesh's own three fields."""
    own = FileAccessLog(
        r.text("accessLogFile"),
        r.text("accessLogFormat"),
        r.enum("accessLogEncoding", ("TEXT", "JSON"), "TEXT"),
    )
    if own.encoding == "JSON" and own.format and not _is_object(own.format):
        r.warn("accessLogFormat", "is no JSON object, so that the default is used", 'write {"key": "%…%"}')
    check_format(r, "accessLogFormat", own.format)
    check_log_file(r, "accessLogFile", own.path)
    return read_default_log(r, providers) or own


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _read_outbound(r: Reader) -> OutboundTrafficPolicy:
    modes = ("REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS")
    policy = OutboundTrafficPolicy(mode=r.enum("mode", modes, "ALLOW_ANY"))
    note_absent(r, OUTBOUND)
    return policy


def _read_paths(r: Reader) -> str:
    found = r.enum("normalization", ("DEFAULT", *PATHS), "DEFAULT")
    return "" if found == "DEFAULT" else found


def _read_inbound(r: Reader) -> str:
    return r.enum("mode", ("PASSTHROUGH", "LOCALHOST"), "PASSTHROUGH")


def _read_proxy_config(r: Reader) -> ProxyConfig:
    config = ProxyConfig(
        concurrency=r.integer("concurrency"),
        proxy_metadata=r.labels("proxyMetadata"),
        gateway_topology=r.message("gatewayTopology", read_topology) or GatewayTopology(),
        proxy_headers=r.message("proxyHeaders", read_headers) or ProxyHeaders(),
        connection_settings=r.message("connectionSettings", read_connections) or ConnectionSettings(),
        start=read_start(r),
    )
    note_absent(r, PROXIES)
    return config


MESH_CONFIG = Kind(
    name="MeshConfig",
    group="",
    versions=(),
    plural="",
    namespaced=False,
    table=mesh_configs,
    read=_read,
    shape="bare",
)
