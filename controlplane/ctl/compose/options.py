"""What a user asks of `mini-istioctl compose mesh`, as it is kept in the meshed file.

So a file that is meshed again without flags stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.emit import Inline, Output
from controlplane.ctl.compose.service import Service, replicas

IMAGE = "mini-istiod"
ENVOY_IMAGE = "envoyproxy/envoy:v1.40.0"
MESH_DIR = "./mesh"
MOST = 99
"""Pairs of one service."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags; `scale` is how many pairs a service has, by its name."""

    image: str = IMAGE
    envoy_image: str = ENVOY_IMAGE
    mesh_dir: str = MESH_DIR
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gateway: bool = False
    scale: Mapping[str, int] = field(default_factory=dict)


def amended(kept: Options, given: Mapping[str, Any], project: Mapping[str, Service]) -> Options:
    """The options kept in a file, with the flags that were given in their place; scales one by one.

    A scale that the service of the project says itself need not be kept.
    """
    known = {name: one for name, one in given.items() if one is not None}
    scale = {**kept.scale, **known.pop("scale", {})}
    needed = {
        name: count
        for name, count in sorted(scale.items())
        if name not in project or count != replicas(project[name])
    }
    return replace(kept, **known, scale=needed)


def recorded(options: Options) -> dict[str, Output]:
    """What of them is not the default, as it is written into the file."""
    plain = Options()
    found: dict[str, Output] = {}
    for one in fields(Options):
        given = getattr(options, one.name)
        if given != getattr(plain, one.name):
            key = one.name.replace("_", "-")
            found[key] = given if isinstance(given, str | bool) else Inline(given)
    return found


def read(record: Value) -> Options:
    """The reverse; MiniIstiodError when somebody wrote something else there."""
    if not isinstance(record, dict):
        return Options()
    given: dict[str, Any] = {}
    for one in fields(Options):
        found = record.get(one.name.replace("_", "-"))
        if found is None:
            continue
        try:
            given[one.name] = _READ.get(one.name, str)(found)
        except (TypeError, ValueError, AttributeError) as error:
            raise MiniIstiodError(
                f"x-mini-istiod.{one.name.replace('_', '-')}: cannot be used; take it out and give the flag"
            ) from error
    return Options(**given)


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise TypeError
    return tuple(str(one) for one in found)


_READ: dict[str, Any] = {
    "only": _names,
    "exclude": _names,
    "gateway": lambda found: str(found) == "true",
    "scale": lambda found: {str(name): pairs(str(count)) for name, count in found.items()},
}


def pairs(text: str) -> int:
    """A count of pairs; ValueError when it is none."""
    if re.fullmatch(r"[0-9]{1,2}", text) is None or not 1 <= int(text) <= MOST:
        raise ValueError(f"a whole number from 1 to {MOST} is wanted")
    return int(text)


def scale(text: str) -> tuple[str, int]:
    """("X", 3) of "X=3"; ValueError when it is something else."""
    name, equals, count = text.rpartition("=")
    if not equals or not name:
        raise ValueError("SERVICE=N is wanted")
    return name, pairs(count)
