"""Which sources the settings name: what is kept on disk, and what is followed."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.base.clock import Clock
from controlplane.settings import Settings
from controlplane.sources.change import Source
from controlplane.sources.directory import DirectorySource
from controlplane.sources.docker.compose_file import ComposeFileSource
from controlplane.sources.docker.source import DockerSource
from controlplane.sources.kept import KeptObjects
from controlplane.sources.mesh_file import MeshFileSource


def kept_objects(settings: Settings, clock: Clock, ids: Iterator[int]) -> tuple[KeptObjects, ...]:
    """The last valid versions from before a restart, where there is a folder for them."""
    if settings.data_dir is None:
        return ()
    return (KeptObjects(settings.data_dir / "last-valid", clock=clock, ids=ids),)


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
