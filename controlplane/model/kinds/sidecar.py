"""The Sidecar: what a workload may see and on which ports it listens."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.keys import Labels
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings
from controlplane.model.kinds.http_route import Destination
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.kinds.tls import ServerTLSSettings
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class SidecarPort:
    """A port of a listener; `protocol` as written, "" = detect; number 0 with a unix bind."""

    number: int
    protocol: str = ""
    name: str = ""
    target_port: int | None = None


@dataclass(frozen=True, slots=True)
class IstioIngressListener:
    """An inbound listener; `default_endpoint` is 127.0.0.1:p, 0.0.0.0:p, [::1]:p, unix://path or None (= port)."""

    port: SidecarPort
    bind: str | None = None
    capture_mode: str = "DEFAULT"
    default_endpoint: str | None = None
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


@dataclass(frozen=True, slots=True)
class IstioEgressListener:
    """Outbound imports: `hosts` as written (namespace/dnsName); no `port` = the services' own ports."""

    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str | None = None
    capture_mode: str = "DEFAULT"


@dataclass(frozen=True, slots=True)
class OutboundTrafficPolicy:
    """What happens to traffic to unknown destinations.

    `mode` is REGISTRY_ONLY, ALLOW_ANY or (in MeshConfig) ALLOW_ANY_DYNAMIC_DNS.
    """

    mode: str = "ALLOW_ANY"
    egress_proxy: Destination | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`workload_selector` None = all workloads of the namespace; no `egress` = everything visible."""

    meta: Meta
    workload_selector: Labels | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    inbound_connection_pool: ConnectionPoolSettings | None = None


sidecars = Table(
    "sidecars",
    indexes={"namespace": by_namespace},
    # A Sidecar without a selector is in force for every workload of its namespace.
    selector=lambda value: value.workload_selector or (),
    namespace=namespace_of,
)
