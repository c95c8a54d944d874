"""What a replay gave, as numbers."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from controlplane.sources.recording import Header


@dataclass(slots=True)
class Result:
    """What a replay gave; `compute` are CPU seconds from commit to settled graph, one per commit."""

    header: Header
    seconds: float = 0.0
    """Of virtual time."""
    ended: str = ""
    """Why the recording ends before its end; "" when it does not."""
    events: int = 0
    changes: int = 0
    batches: int = 0
    revision: int = 0
    connections: int = 0
    proxies: int = 0
    sha256: str = ""
    responses: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    rejections: list[Mapping[str, Any]] = field(default_factory=list)
    """What proxies refused when it was recorded."""
    failed_queries: int = 0
    """Faults of this program: anything above 0 is a bug."""
    compute: array[float] = field(default_factory=lambda: array("d"))
    plan_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Counts as numbers, times as seconds, the distribution of `compute` in milliseconds."""
        return {
            "sha256": self.sha256,
            "product": self.header.product,
            "started": self.header.started,
            "seconds": round(self.seconds, 6),
            "cut_off": self.ended,
            "events": self.events,
            "changes": self.changes,
            "batches": self.batches,
            "revisions": self.revision,
            "proxies": self.proxies,
            "connections": self.connections,
            "rejections": len(self.rejections),
            "responses": sum(self.responses.values()),
            "bytes": sum(self.bytes.values()),
            "types": {
                short: {"responses": self.responses[short], "bytes": self.bytes[short]}
                for short in sorted(self.responses)
            },
            "cpu_seconds": round(self.cpu_seconds, 3),
            "plan_seconds": round(self.plan_seconds, 3),
            "failed_queries": self.failed_queries,
            "compute_ms": _distribution(self.compute),
        }


def _distribution(seconds: array[float]) -> dict[str, float]:
    """Nearest-rank quantiles in milliseconds; empty when there is nothing."""
    if not seconds:
        return {}
    found = sorted(seconds)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(1e3 * found[ceil(share * len(found)) - 1], 3) for name, share in ranks.items()}
