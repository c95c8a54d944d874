"""MeshConfig: the settings of the whole mesh, and the defaults of its proxies."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.graph import Table
from controlplane.model.keys import Labels
from controlplane.model.kinds.connection_pool import TcpKeepalive
from controlplane.model.kinds.http_effects import HTTPRetry
from controlplane.model.kinds.load_balancing import LocalityLoadBalancerSetting
from controlplane.model.kinds.sidecar import OutboundTrafficPolicy
from controlplane.model.meta import Meta

SECOND = 1_000_000_000
"""Nanoseconds."""


@dataclass(frozen=True, slots=True)
class LabelSelectorRequirement:
    """`operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All labels and all requirements must hold; an empty selector selects everything."""

    match_labels: Labels = ()
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Defaults of proxies (Istio's ProxyConfig); durations in nanoseconds."""

    discovery_address: str = "istiod.istio-system.svc:15012"
    drain_duration: int = 45 * SECOND
    termination_drain_duration: int = 5 * SECOND
    proxy_admin_port: int = 15000
    status_port: int = 15020
    stat_name_length: int = 189
    concurrency: int | None = None
    interception_mode: str = "REDIRECT"
    service_cluster: str | None = None
    proxy_metadata: Labels = ()
    mesh_id: str | None = None


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """The mesh's settings; every default is Istio's, so `MeshConfig()` is a mesh that says nothing.

    Durations are in nanoseconds.  `inbound_traffic_policy` is PASSTHROUGH or LOCALHOST;
    `access_log_encoding` TEXT or JSON; `h2_upgrade_policy` DO_NOT_UPGRADE or UPGRADE;
    `access_log_file` "" = no access log; `default_http_retry_policy` None = the built-in one.
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
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: str = "TEXT"
    default_http_retry_policy: HTTPRetry | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    protocol_detection_timeout: int = 0
    h2_upgrade_policy: str = "DO_NOT_UPGRADE"
    dns_refresh_rate: int = 60 * SECOND
    proxy_listen_port: int = 15001
    proxy_inbound_listen_port: int = 15006
    discovery_selectors: tuple[LabelSelector, ...] = ()
    default_config: ProxyConfig = field(default=ProxyConfig())


mesh_configs = Table("mesh_configs")
