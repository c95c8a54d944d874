"""EnvoyFilter: patches of what is generated for Envoy, for all that no other kind can say.

What a patch holds is Envoy's and not Istio's: it is kept as JSON here and becomes a message where Envoy's
messages are known.
https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.graph import Table
from controlplane.model.keys import Labels
from controlplane.model.kinds.envoy_filter_match import ANYTHING, Match, read_match
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.policy_target import PolicyTargetReference, read_target
from controlplane.model.kinds.service_entry import read_workload_selector
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

_MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST")
_INSERTS = ("INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER")

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "LISTENER": (*_MERGES, "ADD", "REMOVE"),
    "LISTENER_FILTER": (*_MERGES, "ADD", "REMOVE", "REPLACE", *_INSERTS),
    "FILTER_CHAIN": (*_MERGES, "ADD", "REMOVE"),
    "NETWORK_FILTER": (*_MERGES, "ADD", "REMOVE", "REPLACE", *_INSERTS),
    "HTTP_FILTER": (*_MERGES, "ADD", "REMOVE", "REPLACE", *_INSERTS),
    "ROUTE_CONFIGURATION": _MERGES,
    "VIRTUAL_HOST": (*_MERGES, "ADD", "REMOVE", "REPLACE"),
    "HTTP_ROUTE": (*_MERGES, "ADD", "REMOVE", *_INSERTS),
    "CLUSTER": (*_MERGES, "ADD", "REMOVE"),
    "EXTENSION_CONFIG": ("ADD",),
    "BOOTSTRAP": _MERGES,
}
"""What can be patched -> the operations that mean something there; as in Istio the others are ignored."""

_ALL_OPERATIONS = (*_MERGES, "ADD", "REMOVE", *_INSERTS, "REPLACE")
_CLASSES = ("UNSPECIFIED", "AUTHN", "AUTHZ", "STATS")
_FILTERS = ("LISTENER_FILTER", "NETWORK_FILTER", "HTTP_FILTER")


@dataclass(frozen=True, slots=True)
class ConfigPatch:
    """One patch: what it does (a word of OPERATIONS) to what (a key of OPERATIONS), where, and with what.

    `value` is JSON text with sorted keys, "" where there is none.  `effective`: the operation means something
    there.
    """

    apply_to: str
    operation: str
    match: Match = ANYTHING
    value: str = field(default="", repr=False)
    filter_class: str = "UNSPECIFIED"

    @property
    def effective(self) -> bool:
        return self.operation in OPERATIONS[self.apply_to] and self.apply_to != "BOOTSTRAP"


@dataclass(frozen=True, slots=True)
class EnvoyFilter:
    """`selector` () = all proxies of the namespace, or of the mesh in the root namespace.

    With `targets` it holds for no proxy.  A smaller `priority` is applied earlier.
    """

    meta: Meta
    patches: tuple[ConfigPatch, ...]
    selector: Labels = ()
    priority: int = 0
    targets: tuple[PolicyTargetReference, ...] = ()


envoy_filters = Table(
    "envoy_filters",
    indexes={"namespace": by_namespace},
    # One without a selector selects everybody, so that one question finds all that may be in force.
    selector=lambda value: value.selector,
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> EnvoyFilter:
    targets = r.messages("targetRefs", read_target)
    if targets and r.has("workloadSelector"):
        r.error("targetRefs", "excludes workloadSelector", "keep one of them")
    elif targets:
        r.warn("targetRefs", "names no workload, so that the patches hold for none", "use workloadSelector")
    return EnvoyFilter(
        meta=meta,
        patches=r.messages("configPatches", _read_patch),
        selector=r.message("workloadSelector", read_workload_selector) or (),
        priority=r.integer("priority", -(2**31)) or 0,
        targets=targets,
    )


def _read_patch(r: Reader) -> ConfigPatch:
    r.demand("applyTo", "say what is patched, like applyTo: HTTP_FILTER")
    apply_to = r.enum("applyTo", tuple(OPERATIONS), "LISTENER")
    match = r.message("match", lambda inner: read_match(inner, apply_to)) or ANYTHING
    r.demand("patch", "say what to do: patch: {operation: …, value: …}")
    operation, value, kind = r.message("patch", lambda inner: _read_change(inner, apply_to)) or ("", "", "")
    found = ConfigPatch(apply_to, operation, match, value, kind)
    if operation:
        _check_effect(r, found)
    return found


def _read_change(r: Reader, apply_to: str) -> tuple[str, str, str]:
    """(operation, value, filter class)."""
    operation = r.choice("operation", _ALL_OPERATIONS) or ""
    if not r.has("operation"):
        r.error("operation", "is missing", "use one of " + ", ".join(OPERATIONS[apply_to]))
    value = _json(r, "value")
    if not r.has("value") and operation != "REMOVE":
        r.error("value", "is missing", "write the configuration, or use REMOVE")
    kind = r.enum("filterClass", _CLASSES, "UNSPECIFIED")
    if kind != "UNSPECIFIED" and (apply_to, operation) != ("HTTP_FILTER", "ADD"):
        r.warn("filterClass", "counts only where an HTTP_FILTER is added", "remove it, or use ADD")
    return operation, value, kind


def _json(r: Reader, name: str) -> str:
    """Any mapping as JSON text that is equal for equal mappings; "" where it is absent."""
    raw = r.value(name)
    if raw is None:
        return ""
    if not isinstance(raw, Mapping):
        r.error(name, "is no mapping", "write the configuration's fields below it")
        return ""
    try:
        return json.dumps(raw, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        r.error(name, "cannot be written as JSON", "use strings, finite numbers, lists and mappings")
        return ""


def _check_effect(r: Reader, patch: ConfigPatch) -> None:
    """What Istio accepts and ignores."""
    at = "patch.operation"
    if patch.apply_to == "BOOTSTRAP":
        r.warn(
            "applyTo",
            "BOOTSTRAP is not supported: a proxy has its bootstrap before it is served anything",
            "edit what mini-istiod bootstrap writes",
        )
    elif not patch.effective:
        allowed = ", ".join(OPERATIONS[patch.apply_to])
        r.warn(at, f"{patch.operation} is ignored for {patch.apply_to}", f"use {allowed}")
    elif patch.apply_to in _FILTERS and patch.operation in ("REMOVE", "REPLACE") and not _names_filter(patch):
        r.warn(at, f"{patch.operation} is ignored without the name of a filter", "name it in match.listener")


def _names_filter(patch: ConfigPatch) -> bool:
    listener = patch.match.listener
    if listener is None:
        return False
    if patch.apply_to == "LISTENER_FILTER":
        return bool(listener.listener_filter)
    chain = listener.chain
    return chain is not None and bool(chain.sub_filter if patch.apply_to == "HTTP_FILTER" else chain.filter)


ENVOY_FILTER = Kind(
    name="EnvoyFilter",
    group="networking.istio.io",
    versions=("v1alpha3",),
    plural="envoyfilters",
    namespaced=True,
    table=envoy_filters,
    read=_read,
)
