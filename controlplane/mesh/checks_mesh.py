"""Checks of the MeshConfig: what it means in this mesh; fields without effect are told when it is read."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding, as_problem
from controlplane.mesh.checks_subsets import ZONES_ALIKE
from controlplane.model.keys import Key
from controlplane.model.kinds import mesh_configs, namespaces
from controlplane.model.kinds.cluster import Namespace
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.problem import Problem
from controlplane.model.selectors import is_discovered


@query
def mesh_config_problems(q: Q, key: Key) -> tuple[Problem, ...]:
    """What the MeshConfig says that means something else in this mesh than its author may expect."""
    config: MeshConfig | None = q.get(mesh_configs, key)
    if config is None:
        return ()
    findings = [*_out_of_sight(q, config), *_clusters(config)]
    return tuple(as_problem("MeshConfig", key, finding) for finding in findings)


def _clusters(config: MeshConfig) -> Iterator[Finding]:
    """What clusters inherit, and can keep to in part only."""
    if config.zone_aware_lb_setting is not None and config.zone_aware_lb_setting.enabled:
        yield Finding("zoneAwareLbSetting", ZONES_ALIKE, "use localityLbSetting to keep to the zone")
    if config.tls_defaults.min_protocol_version != "TLS_AUTO":
        yield Finding(
            "tlsDefaults.minProtocolVersion",
            "has no effect, as in Istio: TLS with servers outside the mesh begins with 1.2",
            "have the servers demand it",
        )


def _out_of_sight(q: Q, config: MeshConfig) -> Iterator[Finding]:
    """What holds for the whole mesh stands in the root namespace, which has to be discovered like others."""
    root = config.root_namespace
    found: Namespace | None = q.get(namespaces, Key("", root))
    labels = () if found is None else found.meta.labels
    if not is_discovered(root, labels, config.discovery_selectors):
        yield Finding(
            "discoverySelectors",
            f"leave out the root namespace {root}, so that what stands there holds for nobody",
            f"give namespace {root} a label that is selected, or select it by kubernetes.io/metadata.name",
        )
