"""When an Envoy had taken a change in, by its own statistics.

xDS has no signal for it: an ACK says that a response was accepted, and a cluster may be warming then.
Every subscription of Envoy (clusters, listeners, each route configuration, each cluster's endpoints) keeps
the wall clock's millisecond of its last good update, and gauges count what is warming.  One look after
the fact is therefore as good as watching all the time, and disturbs nobody.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/mgmt_server (`update_time`).
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterable, Mapping

from controlplane.lab.churn.objects import PORT
from controlplane.lab.fetch import Admin

_FILTER = urllib.parse.quote("update_time$|warming_clusters$|total_listeners_warming$")
_TICK = 0.001
"""Seconds: what Envoy's times are rounded down to."""


def kept(hosts: Iterable[str]) -> tuple[str, ...]:
    """The prefixes of the statistics that an Envoy must keep for this: of routes, and of these hosts."""
    return ("http.", *(f"cluster.outbound|{PORT}||{host}" for host in sorted(hosts)))


def look(admin: Admin) -> tuple[dict[str, int], float]:
    """The statistics as they are, and the wall clock minus the monotonic one."""
    return admin.stats(_FILTER), time.time() - time.monotonic()


def warm(stats: Mapping[str, int], epoch: float, since: float) -> float | None:
    """The monotonic second of the last update since the monotonic second `since`.

    None when there was none, or when something is still warming.
    """
    if any(
        count for name, count in stats.items() if name.endswith(("warming_clusters", "listeners_warming"))
    ):
        return None
    times = [stamp / 1000 - epoch for name, stamp in stats.items() if name.endswith("update_time")]
    return max((moment for moment in times if moment >= since - _TICK), default=None)
