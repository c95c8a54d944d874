"""Traffic policy in clusters: limits, ejection, balancing, keepalive.

Istio's defaults, not Envoy's: no limits at all, the least loaded endpoint, and no panic mode (an
endpoint that is not ready gets no traffic however few are left).
"""

from __future__ import annotations

from typing import Any

from controlplane.base.wire import length_delimited
from controlplane.envoy import pb
from controlplane.mesh.locality import Preference
from controlplane.mesh.settings import ClusterDefaults
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, TcpKeepalive
from controlplane.model.kinds.destination_rule import RetryBudget, TrafficPolicy
from controlplane.model.kinds.load_balancing import (
    ConsistentHashLB,
    LoadBalancerSettings,
    OutlierDetection,
    WarmupConfiguration,
)

Cluster = pb.cluster.Cluster
_UNLIMITED = 0xFFFFFFFF
_BUDGET_INTERVAL = 3
"""The number of RetryBudget.budget_interval."""
_RING_SIZE = 1024
_WARMUP_FLOOR = 10.0
_SECOND = 1_000_000_000


def apply_policy(cluster: Any, policy: TrafficPolicy, defaults: ClusterDefaults) -> None:
    """Write a policy into a cluster; its type is set already and may overrule the balancer."""
    apply_pool(cluster, policy.connection_pool, policy.retry_budget, defaults)
    balance(cluster, policy.load_balancer)
    eject(cluster, policy.outlier_detection)


def apply_pool(
    cluster: Any, pool: ConnectionPoolSettings | None, budget: RetryBudget | None, defaults: ClusterDefaults
) -> None:
    """Limits, connect timeout and keepalive."""
    tcp = None if pool is None else pool.tcp
    http = None if pool is None else pool.http
    timeout = None if tcp is None else tcp.connect_timeout
    cluster.connect_timeout.CopyFrom(pb.duration(defaults.connect_timeout if timeout is None else timeout))
    if defaults.buffer is not None:
        cluster.per_connection_buffer_limit_bytes.value = defaults.buffer
    limits = cluster.circuit_breakers.thresholds.add(track_remaining=True)
    limits.max_connections.value = (tcp and tcp.max_connections) or _UNLIMITED
    limits.max_pending_requests.value = (http and http.http1_max_pending_requests) or _UNLIMITED
    limits.max_requests.value = (http and http.http2_max_requests) or _UNLIMITED
    limits.max_retries.value = (http and http.max_retries) or _UNLIMITED
    if budget is not None:
        limits.retry_budget.SetInParent()
        if budget.percent is not None:
            limits.retry_budget.budget_percent.value = budget.percent
        if budget.min_retry_concurrency is not None:
            limits.retry_budget.min_retry_concurrency.value = budget.min_retry_concurrency
        if budget.budget_interval is not None:
            # Envoy knows the field, and the stubs are older; a message keeps what it does not know.
            interval = pb.deterministic(pb.duration(budget.budget_interval))
            limits.retry_budget.MergeFromString(length_delimited(_BUDGET_INTERVAL, interval))
    keepalive = (tcp and tcp.tcp_keepalive) or defaults.tcp_keepalive
    if keepalive is not None:
        _keep_alive(cluster.upstream_connection_options.tcp_keepalive, keepalive)


def _keep_alive(message: Any, keepalive: TcpKeepalive) -> None:
    message.SetInParent()
    if keepalive.probes is not None:
        message.keepalive_probes.value = keepalive.probes
    if keepalive.time is not None:
        message.keepalive_time.value = _seconds(keepalive.time)
    if keepalive.interval is not None:
        message.keepalive_interval.value = _seconds(keepalive.interval)


def _seconds(nanoseconds: int) -> int:
    """Whole seconds, at least one: the kernel's options know nothing smaller."""
    return max(1, nanoseconds // _SECOND)


def balance(cluster: Any, settings: LoadBalancerSettings | None) -> None:
    """The balancer; a cluster that connects where traffic was sent has no choice to make."""
    if cluster.type == Cluster.ORIGINAL_DST or cluster.HasField("cluster_type"):
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        return
    if settings is not None and settings.consistent_hash is not None:
        _hash(cluster, settings.consistent_hash)
        return
    simple = (settings and settings.simple) or "LEAST_REQUEST"
    warmup = None if settings is None else settings.warmup
    if simple == "ROUND_ROBIN":
        cluster.lb_policy = Cluster.ROUND_ROBIN
        _warm_up(cluster.round_robin_lb_config, warmup)
    elif simple == "RANDOM":
        cluster.lb_policy = Cluster.RANDOM
    else:
        cluster.lb_policy = Cluster.LEAST_REQUEST
        _warm_up(cluster.least_request_lb_config, warmup)


def prefer(cluster: Any, preference: Preference | None) -> None:
    """How Envoy chooses between localities of one priority; the rest is in the endpoints."""
    if preference is None or cluster.lb_policy == Cluster.CLUSTER_PROVIDED:
        return
    if preference.weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    elif preference.zones:
        cluster.common_lb_config.zone_aware_lb_config.SetInParent()
        if preference.smallest is not None:
            cluster.common_lb_config.zone_aware_lb_config.min_cluster_size.value = preference.smallest


def _hash(cluster: Any, settings: ConsistentHashLB) -> None:
    if settings.maglev is not None:
        cluster.lb_policy = Cluster.MAGLEV
        if settings.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = settings.maglev.table_size
        return
    cluster.lb_policy = Cluster.RING_HASH
    size = None if settings.ring_hash is None else settings.ring_hash.minimum_ring_size
    cluster.ring_hash_lb_config.minimum_ring_size.value = size or _RING_SIZE


def _warm_up(config: Any, warmup: WarmupConfiguration | None) -> None:
    if warmup is None:
        return
    slow = config.slow_start_config
    slow.slow_start_window.CopyFrom(pb.duration(warmup.duration))
    slow.aggression.default_value = 1.0 if warmup.aggression is None else warmup.aggression
    slow.aggression.runtime_key = "slow_start.aggression"
    floor = warmup.minimum_percent
    slow.min_weight_percent.value = _WARMUP_FLOOR if floor is None else floor


def eject(cluster: Any, settings: OutlierDetection | None) -> None:
    """Outlier detection by counted errors; ejection by success rate, Envoy's other way, is off."""
    panic = 0
    if settings is not None:
        panic = settings.min_health_percent or 0
        _detect(cluster.outlier_detection, settings)
    cluster.common_lb_config.healthy_panic_threshold.value = panic


def _detect(message: Any, settings: OutlierDetection) -> None:
    message.enforcing_success_rate.value = 0
    if settings.consecutive_5xx_errors is not None:
        message.consecutive_5xx.value = settings.consecutive_5xx_errors
        message.enforcing_consecutive_5xx.value = 100 if settings.consecutive_5xx_errors else 0
    if settings.consecutive_gateway_errors is not None:
        message.consecutive_gateway_failure.value = settings.consecutive_gateway_errors
        enforced = 100 if settings.consecutive_gateway_errors else 0
        message.enforcing_consecutive_gateway_failure.value = enforced
    if settings.split_external_local_origin_errors:
        message.split_external_local_origin_errors = True
        message.enforcing_local_origin_success_rate.value = 0
        if settings.consecutive_local_origin_failures is not None:
            failures = settings.consecutive_local_origin_failures
            message.consecutive_local_origin_failure.value = failures
            message.enforcing_consecutive_local_origin_failure.value = 100 if failures else 0
    if settings.interval is not None:
        message.interval.CopyFrom(pb.duration(settings.interval))
    if settings.base_ejection_time is not None:
        message.base_ejection_time.CopyFrom(pb.duration(settings.base_ejection_time))
    if settings.max_ejection_percent:
        message.max_ejection_percent.value = settings.max_ejection_percent
