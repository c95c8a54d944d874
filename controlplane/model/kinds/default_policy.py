"""MeshConfig.defaultTrafficPolicy: what clusters inherit that no DestinationRule says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, read_connection_pool
from controlplane.model.kinds.load_balancing import OutlierDetection, read_outlier_detection
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class DefaultTrafficPolicy:
    """Blocks that a rule replaces as a whole; None: Istio's own defaults."""

    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None


def read_default_policy(r: Reader) -> DefaultTrafficPolicy:
    """DefaultTrafficPolicy."""
    return DefaultTrafficPolicy(
        connection_pool=r.message("connectionPool", read_connection_pool),
        outlier_detection=r.message("outlierDetection", read_outlier_detection),
    )
