"""How a destination's endpoints are chosen and judged; shared by DestinationRule and MeshConfig."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from controlplane.model.checks import check_lines
from controlplane.model.keys import Labels
from controlplane.model.kinds.locality_setting import (
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
    read_locality,
    read_zone_aware,
)
from controlplane.model.reader import UINT32, Reader

SIMPLE = ("UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST")
_COLD = ("RANDOM", "PASSTHROUGH")
_HASH_KEYS = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
# Envoy's bounds: maximum_ring_size and the largest Maglev table.
_LARGEST_RING = 8 * 1024 * 1024
_LARGEST_TABLE = 5_000_011


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


def read_load_balancer(r: Reader) -> LoadBalancerSettings:
    """LoadBalancerSettings."""
    warmup = r.message("warmup", _read_warmup)
    old_warmup = r.duration("warmupDurationSecs")
    if warmup is None and old_warmup is not None:
        warmup = WarmupConfiguration(old_warmup)
    settings = LoadBalancerSettings(
        simple=r.choice("simple", SIMPLE),
        consistent_hash=r.message("consistentHash", _read_consistent_hash),
        locality_lb_setting=r.message("localityLbSetting", read_locality),
        zone_aware_lb_setting=r.message("zoneAwareLbSetting", read_zone_aware),
        warmup=warmup,
    )
    if r.value("backendUtilization") is not None:
        r.warn(
            "backendUtilization", "is not supported: Istio does nothing for it either", "use LEAST_REQUEST"
        )
    if warmup is not None and (settings.consistent_hash is not None or settings.simple in _COLD):
        r.warn(
            "warmup" if r.has("warmup") else "warmupDurationSecs",
            f"has no effect with {settings.simple or 'consistentHash'}: none begins slowly",
            "use ROUND_ROBIN or LEAST_REQUEST",
        )
    if settings.simple is not None and settings.consistent_hash is not None:
        r.error("consistentHash", "excludes simple", "keep one of them")
    if settings.locality_lb_setting is not None and settings.zone_aware_lb_setting is not None:
        r.warn("localityLbSetting", "has no effect beside zoneAwareLbSetting", "keep one of them")
    return settings


def _read_warmup(r: Reader) -> WarmupConfiguration:
    duration = r.duration("duration")
    r.demand("duration", 'say how long, like "60s"')
    return WarmupConfiguration(
        duration=duration or 0,
        minimum_percent=r.number("minimumPercent", 0, 100),
        aggression=r.number("aggression", 1, 1e9),
    )


def _read_consistent_hash(r: Reader) -> ConsistentHashLB:
    ring = r.message("ringHash", lambda ring: RingHash(ring.count("minimumRingSize", _LARGEST_RING)))
    old = r.count("minimumRingSize", _LARGEST_RING)
    if ring is None and old is not None:
        ring = RingHash(old)
    settings = ConsistentHashLB(
        http_header_name=r.string("httpHeaderName"),
        http_cookie=r.message("httpCookie", _read_cookie),
        use_source_ip=r.boolean("useSourceIp"),
        http_query_parameter_name=r.string("httpQueryParameterName"),
        ring_hash=ring,
        maglev=r.message("maglev", _read_maglev),
    )
    check_lines(
        r,
        httpHeaderName=settings.http_header_name,
        httpQueryParameterName=settings.http_query_parameter_name,
    )
    given = [name for name in _HASH_KEYS if r.has(name)]
    if not given:
        r.error("", "names nothing to hash", "say one of " + ", ".join(_HASH_KEYS))
    elif len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of " + ", ".join(_HASH_KEYS))
    rings = [
        name
        for name in ("ringHash", "maglev", "minimumRingSize")
        if r.has(name) and (old or name != "minimumRingSize")
    ]
    for name in rings[1:]:
        r.error(name, f"excludes {rings[0]}", "keep one of them")
    return settings


def _read_cookie(r: Reader) -> HTTPCookie:
    cookie = HTTPCookie(
        name=r.required("name", "name the cookie"),
        path=r.string("path"),
        ttl=r.duration("ttl", 0),
        attributes=r.messages("attributes", _read_attribute),
    )
    check_lines(r, name=cookie.name, path=cookie.path)
    return cookie


def _read_attribute(r: Reader) -> tuple[str, str]:
    name, value = r.required("name", "name it"), r.text("value")
    check_lines(r, name=name, value=value)
    return name, value


def _read_maglev(r: Reader) -> MagLev:
    size = r.count("tableSize", _LARGEST_TABLE - 1)
    if not r.has("tableSize") or size is None:
        r.error("tableSize", "is missing", "use a prime, like 65537")
    # https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto: table_size
    if size is not None and not _is_prime(size):
        r.error("tableSize", f"{size} is not a prime number", "use a prime, like 65537")
    return MagLev(size)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def read_outlier_detection(r: Reader) -> OutlierDetection:
    """OutlierDetection."""
    detection = OutlierDetection(
        consecutive_5xx_errors=r.integer("consecutive5xxErrors", 0, UINT32),
        consecutive_gateway_errors=r.integer("consecutiveGatewayErrors", 0, UINT32),
        split_external_local_origin_errors=r.boolean("splitExternalLocalOriginErrors"),
        consecutive_local_origin_failures=r.integer("consecutiveLocalOriginFailures", 0, UINT32),
        interval=r.duration("interval"),
        base_ejection_time=r.duration("baseEjectionTime"),
        max_ejection_percent=r.integer("maxEjectionPercent", 0, 100),
        min_health_percent=r.integer("minHealthPercent", 0, 100),
        outlier_detection_http_error_codes=r.integers("outlierDetectionHttpErrorCodes", 100, 599),
    )
    if r.integer("consecutiveErrors") is not None:
        r.warn("consecutiveErrors", "has no effect any more", "use consecutive5xxErrors")
    if detection.consecutive_local_origin_failures and not detection.split_external_local_origin_errors:
        r.error(
            "consecutiveLocalOriginFailures",
            "needs splitExternalLocalOriginErrors",
            "say splitExternalLocalOriginErrors: true",
        )
    return detection
