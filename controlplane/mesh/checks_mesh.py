"""Checks of the MeshConfig: what it says and nothing here acts upon yet."""

from __future__ import annotations

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, warning
from controlplane.model.keys import Key
from controlplane.model.kinds import mesh_configs
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.problem import Problem

_DEFAULTS = MeshConfig()
_IGNORED = {
    "discovery_selectors": "discoverySelectors",
}
"""Attributes that are read, by the name of their field; its default says what the mesh does anyway."""


@query
def mesh_config_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """Fields that are set to something else than the default and have no effect."""
    config: MeshConfig | None = q.get(mesh_configs, key)
    if config is None:
        return ()
    said = [
        name
        for attribute, name in _IGNORED.items()
        if getattr(config, attribute) != getattr(_DEFAULTS, attribute)
    ]
    return tuple(warning("MeshConfig", key, _finding(name)) for name in sorted(said))


def _finding(name: str) -> Finding:
    return Finding(name, "is not supported yet and has no effect", "remove it, or expect none")
