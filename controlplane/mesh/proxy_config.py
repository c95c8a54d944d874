"""Which ProxyConfig holds for a proxy: the mesh's defaults, then those of namespaces, then its own.

    MeshConfig.defaultConfig < ProxyConfig of the root namespace < of the namespace < one that selects it

The later decides; variables are merged name by name.  Of several at one step the oldest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.graph import contains
from controlplane.model.keys import Labels, labels_of
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.kinds.proxy_config import METADATA, ProxyConfig
from controlplane.model.kinds.proxy_start import ProxyStart


class Started(NamedTuple):
    """What an Envoy is started with: threads (None: one per processor), more node metadata, and the rest."""

    concurrency: int | None = None
    metadata: Labels = ()
    start: ProxyStart = ProxyStart()


def started_with(namespace: str, labels: Labels, mesh: MeshConfig, objects: Iterable[ProxyConfig]) -> Started:
    """What holds for a proxy of this namespace with these labels."""
    concurrency = mesh.default_config.concurrency
    environment = dict(mesh.default_config.proxy_metadata)
    for one in _in_force(namespace, labels, mesh.root_namespace, objects):
        concurrency = one.concurrency if one.concurrency is not None else concurrency
        environment.update(one.environment)
    start = mesh.default_config.start
    metadata = {"MESH_ID": start.mesh_id, "INTERCEPTION_MODE": start.interception_mode}
    metadata = {name: value for name, value in metadata.items() if value}
    metadata |= {
        name.removeprefix(METADATA): value for name, value in environment.items() if name.startswith(METADATA)
    }
    return Started(concurrency or None, labels_of(metadata), start)


def _in_force(
    namespace: str, labels: Labels, root: str, objects: Iterable[ProxyConfig]
) -> Iterator[ProxyConfig]:
    """At most one per step, the widest first."""
    by_age = sorted(objects, key=lambda one: (one.meta.created, one.meta.key))
    for home in dict.fromkeys((root, namespace)):
        yield from _first(one for one in by_age if one.meta.namespace == home and not one.selector)
    yield from _first(
        one
        for one in by_age
        if one.meta.namespace == namespace and one.selector and contains(labels, one.selector)
    )


def _first(found: Iterator[ProxyConfig]) -> Iterator[ProxyConfig]:
    one = next(found, None)
    if one is not None:
        yield one
