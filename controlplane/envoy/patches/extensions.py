"""Extension configurations: ECDS.  A filter that patches add may name one, and fetch it by that name."""

from __future__ import annotations

from controlplane.envoy import pb
from controlplane.envoy.patches.values import patch_value
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import EXTENSION
from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.patches import PatchRef, Refs


@keyed
def extensions(q: Q, refs: Refs) -> Plan:
    """Name -> Resource, of the extension configurations that patches add."""
    return flat(q.fixed(*refs), _extension)


@query
def _extension(q: Q, ref: PatchRef) -> tuple[tuple[str, Resource], ...]:
    body = q(patch_value, ref)
    if body is None:
        return ()
    name = pb.extension.TypedExtensionConfig.FromString(body).name
    return ((name, Resource(EXTENSION, name, body)),)
