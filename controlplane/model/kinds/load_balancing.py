"""How a destination's endpoints are chosen and judged; shared by DestinationRule and MeshConfig."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.keys import Labels


@dataclass(frozen=True, slots=True)
class HTTPCookie:
    """A cookie to hash on; `ttl` in nanoseconds, None = never made by the proxy, 0 = a session cookie."""

    name: str
    path: str | None = None
    ttl: int | None = None
    attributes: Labels = ()


@dataclass(frozen=True, slots=True)
class RingHash:
    """Ketama; `minimum_ring_size` None = 1024."""

    minimum_ring_size: int | None = None


@dataclass(frozen=True, slots=True)
class MagLev:
    """Maglev; `table_size` None = Envoy's default (65537)."""

    table_size: int | None = None


@dataclass(frozen=True, slots=True)
class ConsistentHashLB:
    """Affinity: exactly one key is set.  The old minimumRingSize is read into `ring_hash`.

    Neither `ring_hash` nor `maglev`: a ring hash of the default size.
    """

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool = False
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None


@dataclass(frozen=True, slots=True)
class Distribute:
    """Where traffic from a locality goes: (locality, weight) pairs sorted by locality, the weights sum to 100."""

    from_: str
    to: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Failover:
    """The region that takes over."""

    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class LocalityLoadBalancerSetting:
    """Locality preference; `enabled` None = inherit."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ZoneAwareLoadBalancerSetting:
    """Zone-aware preference; `min_cluster_size` None = Envoy's default (6)."""

    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None
    min_cluster_size: int | None = None


@dataclass(frozen=True, slots=True)
class WarmupConfiguration:
    """Slow start; `duration` in nanoseconds, `minimum_percent` 0..100 (None = 10), `aggression` None = 1."""

    duration: int
    minimum_percent: float | None = None
    aggression: float | None = None


@dataclass(frozen=True, slots=True)
class LoadBalancerSettings:
    """`simple` is UNSPECIFIED, LEAST_CONN (old), RANDOM, PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST or None.

    It excludes `consistent_hash`.  The old warmupDurationSecs is read into `warmup`.
    """

    simple: str | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup: WarmupConfiguration | None = None


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """Ejection of failing endpoints; durations in nanoseconds, percentages 0..100.

    The three error counts: None = not said (Envoy's default for 5xx is 5), 0 = switched off.
    """

    consecutive_5xx_errors: int | None = None
    consecutive_gateway_errors: int | None = None
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: int | None = None
    interval: int | None = None
    base_ejection_time: int | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None
    outlier_detection_http_error_codes: tuple[int, ...] = ()
