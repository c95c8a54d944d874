"""proxy-status: which proxies are connected, and whether they have what was sent to them.

Columns and states are istioctl's: SYNCED (the newest response was accepted), STALE (it is not
answered yet), NOT SENT (the proxy never asked, or there was nothing), ERROR (it was rejected).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from controlplane.ctl.terminal import harmless

TYPES = {"CDS": "Cluster", "LDS": "Listener", "EDS": "ClusterLoadAssignment", "RDS": "RouteConfiguration"}
"""Column and the last part of the type URL."""
_SECRETS = {"SDS": "Secret"}
"""Shown where some proxy asks for secrets; those without an identity have none."""

_COLOURS = {"SYNCED": "green", "STALE": "yellow", "ERROR": "red"}


def select(proxies: Iterable[Mapping[str, Any]], wanted: str) -> list[Mapping[str, Any]]:
    """Sorted by name; `wanted` is NAME.NAMESPACE, or NAME in any namespace, or "" for all."""
    found = [
        proxy
        for proxy in proxies
        if wanted in ("", str(proxy["proxy"]), str(proxy["proxy"]).rpartition(".")[0])
    ]
    return sorted(found, key=lambda proxy: str(proxy["proxy"]))


def table(proxies: Sequence[Mapping[str, Any]], now: datetime | None = None) -> Table:
    """One row per proxy."""
    every = [_by_type(proxy) for proxy in proxies]
    types = TYPES | _SECRETS if any(_SECRETS["SDS"] in one for one in every) else TYPES
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAME", "CLUSTER", *types, "VERSION"):
        shown.add_column(column, overflow="fold")
    at = now or datetime.now(UTC)
    for proxy, resources in zip(proxies, every, strict=True):
        cells = [_cell(resources.get(suffix) or {}, at) for suffix in types.values()]
        ends = [harmless(proxy.get(name, "")) for name in ("proxy", "cluster_id", "istio_version")]
        shown.add_row(*ends[:2], *cells, ends[2])
    return shown


def _by_type(proxy: Mapping[str, Any]) -> dict[str, Any]:
    return {url.rpartition(".")[2]: state for url, state in proxy.get("resources", {}).items()}


def state(resource: Mapping[str, Any]) -> str:
    """The state of one type of one proxy."""
    if not resource.get("sent"):
        return "NOT SENT"
    if resource.get("lastError"):
        return "ERROR"
    return "SYNCED" if resource.get("acked") == resource["sent"] else "STALE"


def _cell(resource: Mapping[str, Any], now: datetime) -> Text:
    word = state(resource)
    age = _age(resource.get("sentTime"), now)
    return Text(f"{word} ({age})" if age and word != "NOT SENT" else word, style=_COLOURS.get(word, ""))


def _age(sent: Any, now: datetime) -> str:
    """How long ago, in the largest unit that fits: "42s", "5m", "3h", "2d"; "" when not told."""
    if not isinstance(sent, str) or not sent:
        return ""
    try:
        seconds = max(0, int((now - datetime.fromisoformat(sent)).total_seconds()))
    except (ValueError, TypeError):
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
