"""Edits before the schedule: what is done for the first time takes longer, and nobody asked about that.

They go through the whole push, to all proxies, carry no number, and end where they began.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

from controlplane.lab.churn.objects import Raw
from controlplane.lab.churn.workload import Workload, key_of


def touches(workload: Workload, times: int) -> Iterator[Raw]:
    """Objects to write one by one: of each kind that the workload edits one, changed and put back."""
    edited = {edit.key for edit in workload.edits()}
    first: dict[str, Raw] = {}
    for raw in workload.initial:
        if key_of(raw) in edited and raw["kind"] in _CHANGES:
            first.setdefault(raw["kind"], raw)
    for kind, raw in sorted(first.items()):
        for n in range(times):
            changed = copy.deepcopy(dict(raw))
            _CHANGES[kind](changed, n)
            yield changed
        if times:
            yield dict(raw)


def _service_entry(raw: Raw, n: int) -> None:
    endpoints = raw["spec"].get("endpoints")
    if endpoints:
        endpoints.append({**copy.deepcopy(endpoints[-1]), "address": _address(n)})


def _endpoint_slice(raw: Raw, n: int) -> None:
    raw["endpoints"].append({**copy.deepcopy(raw["endpoints"][-1]), "addresses": [_address(n)]})


def _virtual_service(raw: Raw, n: int) -> None:
    for route in raw["spec"].get("http", ()):
        route["timeout"] = f"{61 + n}s"


def _destination_rule(raw: Raw, n: int) -> None:
    pool = raw["spec"].setdefault("trafficPolicy", {}).setdefault("connectionPool", {})
    pool.setdefault("tcp", {})["maxConnections"] = 20_001 + n


def _workload_entry(raw: Raw, n: int) -> None:
    raw["spec"]["address"] = _address(n)


def _address(n: int) -> str:
    # No mesh and no marker has addresses there.
    return f"18.255.255.{1 + n % 250}"


_CHANGES: Mapping[str, Callable[[Raw, int], None]] = {
    "DestinationRule": _destination_rule,
    "EndpointSlice": _endpoint_slice,
    "ServiceEntry": _service_entry,
    "VirtualService": _virtual_service,
    "WorkloadEntry": _workload_entry,
}
