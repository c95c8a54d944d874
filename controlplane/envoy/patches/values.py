"""The value of a patch as a message: which one that is, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.patches.reading import known, reason_of
from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.patches import PatchRef, patch_at
from controlplane.model.describe import printable
from controlplane.model.kinds.envoy_filter import ConfigPatch, EnvoyFilter

_components = pb.listener_components

MESSAGES: dict[str, Any] = {
    "LISTENER": pb.listener.Listener,
    "LISTENER_FILTER": _components.ListenerFilter,
    "FILTER_CHAIN": _components.FilterChain,
    "NETWORK_FILTER": _components.Filter,
    "HTTP_FILTER": pb.hcm.HttpFilter,
    "ROUTE_CONFIGURATION": pb.route.RouteConfiguration,
    "VIRTUAL_HOST": pb.route_components.VirtualHost,
    "HTTP_ROUTE": pb.route_components.Route,
    "CLUSTER": pb.cluster.Cluster,
    "EXTENSION_CONFIG": pb.extension.TypedExtensionConfig,
}
"""What is patched -> the message of a patch's value."""

_NAMELESS = ("FILTER_CHAIN", "HTTP_ROUTE", "ROUTE_CONFIGURATION")
"""What Envoy takes without a name."""
_PUTS = ("ADD", "REPLACE", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER")
_LONGEST_PATH = 300


class Value(NamedTuple):
    """A patch's value; `message` is None where something is wrong with it (see `Known`)."""

    message: Any
    unknown: tuple[str, ...] = ()
    wrong: tuple[tuple[str, str], ...] = ()


def read_value(patch: ConfigPatch) -> Value:
    """The message that a patch holds; an empty one where it needs none."""
    kind = MESSAGES[patch.apply_to]
    content, unknown, wrong = known(kind.DESCRIPTOR, json.loads(patch.value or "{}"))
    if wrong:
        return Value(None, unknown, wrong)
    try:
        message = pb.from_json(kind, content)
    except ValueError as error:
        return Value(None, unknown, (("", reason_of(error)),))
    if patch.operation not in _PUTS or patch.apply_to in _NAMELESS or message.name:
        return Value(message, unknown)
    return Value(None, unknown, (("name", "is missing"),))


@query
def patch_value(q: Q, ref: PatchRef) -> bytes | None:
    """The serialized value of a patch, which is its message's; None where it is no such message."""
    patch = q(patch_at, ref)
    if patch is None or patch.apply_to not in MESSAGES:
        return None
    message = read_value(patch).message
    return None if message is None else pb.deterministic(message)


def faults(found: EnvoyFilter) -> Iterator[Finding]:
    """Values that are no messages of Envoy: Istio refuses the object."""
    for at, patch in _with_values(found):
        full = MESSAGES[patch.apply_to].DESCRIPTOR.full_name
        for path, reason in read_value(patch).wrong:
            remedy = f"write {full} as Envoy's documentation has it"
            yield Finding(_below(at, path), reason, remedy)


def oddities(found: EnvoyFilter) -> Iterator[Finding]:
    """Fields of values that Envoy does not have: as in Istio they are left out."""
    for at, patch in _with_values(found):
        for path in read_value(patch).unknown:
            message = "is no field that Envoy has there, and is left out"
            yield Finding(_below(at, path), message, "correct its name, or remove it")


def _with_values(found: EnvoyFilter) -> Iterator[tuple[str, ConfigPatch]]:
    for index, patch in enumerate(found.patches):
        if patch.value and patch.apply_to in MESSAGES:
            yield f"spec.configPatches[{index}].patch.value", patch


def _below(at: str, path: str) -> str:
    return f"{at}.{printable(path, _LONGEST_PATH)}" if path else at
