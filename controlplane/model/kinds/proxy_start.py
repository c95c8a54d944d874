"""What ProxyConfig says that an Envoy has to know before it starts: it counts where bootstraps are made.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.model.checks import check_regex
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader


class StatsMatcher(NamedTuple):
    """Statistics that are kept beside the usual ones, by how their names begin, end or look."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    regexps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyStart:
    """None = Envoy's default; durations in nanoseconds.  `runtime` are keys of Envoy's runtime."""

    drain_duration: int | None = None
    file_flush_interval: int | None = None
    file_flush_min_size_kb: int | None = None
    admin_port: int | None = None
    mesh_id: str = ""
    interception_mode: str = ""
    stats: StatsMatcher = field(default=StatsMatcher())
    runtime: Labels = ()


def read_start(r: Reader) -> ProxyStart:
    """The fields of a ProxyConfig that only a bootstrap can have."""
    return ProxyStart(
        drain_duration=r.duration("drainDuration"),
        file_flush_interval=r.duration("fileFlushInterval"),
        file_flush_min_size_kb=r.count("fileFlushMinSizeKb"),
        admin_port=r.port("proxyAdminPort") or None,
        mesh_id=r.text("meshId"),
        interception_mode=r.enum("interceptionMode", ("REDIRECT", "TPROXY", "NONE"), ""),
        stats=r.message("proxyStatsMatcher", _read_stats) or StatsMatcher(),
        runtime=r.labels("runtimeValues"),
    )


def _read_stats(r: Reader) -> StatsMatcher:
    found = StatsMatcher(
        r.strings("inclusionPrefixes"), r.strings("inclusionSuffixes"), r.strings("inclusionRegexps")
    )
    for index, pattern in enumerate(found.regexps):
        check_regex(r, f"inclusionRegexps[{index}]", pattern)
    return found
