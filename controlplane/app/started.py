"""What proxies are started with, from Istio's objects: ProxyConfig, and the defaults in MeshConfig.

Bootstraps are made without a control plane, so their makers read the objects themselves, from the files that
the control plane reads.  What is wrong with one that matters here is said and ends the command: a proxy that
starts with half of what was meant runs so until somebody looks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.base.errors import MiniIstiodError
from controlplane.envoy import bootstrap_start
from controlplane.envoy.bootstrap import Node, Ports
from controlplane.mesh.proxy_config import Started, started_with
from controlplane.model.keys import labels_of
from controlplane.model.kinds import BY_NAME
from controlplane.model.kinds.mesh_config import MeshConfig
from controlplane.model.kinds.proxy_config import ProxyConfig
from controlplane.model.problem import Origin
from controlplane.sources.directory.documents import Broken, read_units
from controlplane.sources.directory.reading import Trouble, load

_ENDINGS = (".yaml", ".yml", ".json")
_READ = ("ProxyConfig", "MeshConfig")


class Objects(NamedTuple):
    """The objects that decide how proxies start."""

    mesh: MeshConfig = MeshConfig()
    proxies: tuple[ProxyConfig, ...] = ()


def add_argument(parser: argparse._ActionsContainer) -> None:
    """The flag `--objects`."""
    parser.add_argument(
        "--objects",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="files, or folders of them, with ProxyConfig objects and the MeshConfig; repeatable",
    )


def read_objects(paths: list[Path]) -> Objects:
    """The objects in these files; MiniIstiodError names the file that cannot be used, and why."""
    found: list[Any] = [value for path in paths for file in _files(path) for value in _read(file)]
    meshes = [one for one in found if isinstance(one, MeshConfig)]
    if len(meshes) > 1:
        raise MiniIstiodError("--objects: there are several MeshConfigs, and no telling which one holds")
    proxies = tuple(one for one in found if isinstance(one, ProxyConfig))
    return Objects(meshes[0] if meshes else MeshConfig(), proxies)


def start(node: Node, objects: Objects) -> tuple[Node, Started]:
    """The node with the metadata that its objects give it, and all that they say of its start."""
    labels = labels_of(dict(node.labels))
    found = started_with(node.namespace, labels, objects.mesh, objects.proxies)
    return replace(node, metadata={**dict(found.metadata), **node.metadata}), found


def ports(started: Started, admin: int | None = None) -> Ports:
    """Where Envoy itself listens; `admin` is what somebody says otherwise."""
    return Ports(admin=admin or started.start.admin_port or Ports().admin)


def flags(started: Started) -> str:
    """How Envoy is told what no bootstrap can say; "" for its defaults."""
    threads = () if started.concurrency is None else (f"--concurrency {started.concurrency}",)
    return " ".join((*threads, *bootstrap_start.flags(started.start)))


def _files(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise MiniIstiodError(f"--objects: '{path}' is not there")
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS and file.is_file())


def _read(file: Path) -> Iterator[object]:
    loaded = load(file)
    if isinstance(loaded, Trouble):
        raise MiniIstiodError(f"--objects: '{file}': {loaded.reason}")
    for unit in read_units(loaded[1], file.name):
        if isinstance(unit, Broken):
            raise MiniIstiodError(f"--objects: '{file}', line {unit.line}: {unit.message}")
        if unit.raw is None or unit.raw.get("kind") not in _READ:
            continue
        parsed = BY_NAME[str(unit.raw["kind"])].parse(unit.raw, Origin(str(file), unit.line))
        for problem in parsed.problems:
            print(f"{file}:{unit.line}: {problem.field}: {problem.message}", file=sys.stderr)
        if parsed.value is None:
            raise MiniIstiodError(f"--objects: '{file}', line {unit.line}: {unit.raw['kind']} cannot be used")
        yield parsed.value
