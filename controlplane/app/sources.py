"""Which sources a control plane has: what the settings name, and what it remembers or finds out itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from controlplane.app.addresses import address_source
from controlplane.app.key_sets import key_set_source
from controlplane.app.registrations import registrations
from controlplane.base.clock import Clock
from controlplane.settings import Settings
from controlplane.sources.allocated import AllocatedAddresses
from controlplane.sources.change import Source
from controlplane.sources.directory import DirectorySource
from controlplane.sources.docker.compose_file import ComposeFileSource
from controlplane.sources.docker.source import DockerSource
from controlplane.sources.jwks import KeySets
from controlplane.sources.kept import KeptObjects
from controlplane.sources.mesh_file import MeshFileSource
from controlplane.sources.registered import Registrations
from controlplane.telemetry.metrics import Metrics


class Sources(NamedTuple):
    """`every` source, in the order in which they start; by name those that somebody has to do with.

    `kept` is None where there is no folder for it.
    """

    every: tuple[Source, ...]
    kept: KeptObjects | None
    key_sets: KeySets
    addresses: AllocatedAddresses
    joined: Registrations


def all_sources(settings: Settings, clock: Clock, metrics: Metrics) -> Sources:
    """The sources as the settings want them, with one count of changes."""
    ids = itertools.count(1)
    kept = kept_objects(settings, clock, ids)
    key_sets = key_set_source(settings, clock, ids, metrics)
    addresses = address_source(settings, clock, ids)
    joined = registrations(settings, clock, ids)
    # What was in force before the restart comes first.
    first = () if kept is None else (kept,)
    every = (*first, *followed(settings, clock, ids), key_sets, addresses, joined)
    return Sources(every, kept, key_sets, addresses, joined)


def kept_objects(settings: Settings, clock: Clock, ids: Iterator[int]) -> KeptObjects | None:
    """The last valid versions from before a restart, where there is a folder for them."""
    if settings.data_dir is None:
        return None
    return KeptObjects(settings.data_dir / "last-valid", clock=clock, ids=ids)


def followed(settings: Settings, clock: Clock, ids: Iterator[int]) -> tuple[Source, ...]:
    """The sources of objects that users write or run."""
    found: list[Source] = [DirectorySource(settings.config_dir, clock=clock, ids=ids)]
    if settings.mesh_config is not None:
        found.append(MeshFileSource(settings.mesh_config, clock=clock, ids=ids))
    if settings.docker is not None:
        project, namespace = settings.docker_project or "", settings.docker_namespace
        found.append(
            DockerSource(settings.docker, project=project, namespace=namespace, clock=clock, ids=ids)
        )
    if settings.compose_files:
        files, namespace = settings.compose_files, settings.docker_namespace
        found.append(ComposeFileSource(files, namespace=namespace, clock=clock, ids=ids))
    return tuple(found)
