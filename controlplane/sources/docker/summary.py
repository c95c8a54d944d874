"""The list of containers: who is there, who counts, and whose short description is not what is known of them.

The list is one cheap question for any number of containers, and the truth about which there are; it has no
ports and no names in DNS, so whoever is new in it, or other than before, is asked about alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from controlplane.sources.docker.container import Container

PROJECT = "com.docker.compose.project"
ONE_OFF = "com.docker.compose.oneoff"
SERVICE = "mini-istiod.service"

FIELDS = (
    "Id",
    "Names",
    "State",
    "Status",
    "Labels",
    "NetworkSettings.Networks.*.IPAddress",
    "NetworkSettings.Networks.*.GlobalIPv6Address",
)
"""What is read of each item of GET /containers/json; `*` stands for any key."""

Look: TypeAlias = tuple[str, str, str, tuple[tuple[str, str, str], ...]]
"""Name, state, health and addresses: what both the list and the long answer have."""


class Summary(NamedTuple):
    """One container of the list."""

    id: str
    labels: Mapping[str, str]
    look: Look


def summarize(raw: Mapping[str, Any]) -> Summary | None:
    """One item of the list, None where it has no id."""
    id = raw.get("Id")
    if not isinstance(id, str) or not id:
        return None
    labels = _mapping(raw.get("Labels"))
    networks = _mapping(_mapping(raw.get("NetworkSettings")).get("Networks"))
    addresses = []
    for name in sorted(networks):
        one = _mapping(networks[name])
        addresses.append((name, _text(one.get("IPAddress")), _text(one.get("GlobalIPv6Address"))))
    name, health = _name(raw.get("Names")), _health(_text(raw.get("Status")))
    look = (name, _text(raw.get("State")), health, tuple(addresses))
    return Summary(id, {key: _text(value) for key, value in labels.items()}, look)


def look_of(container: Container) -> Look:
    """The look of what is known."""
    addresses = tuple((one.network, one.address, one.address6) for one in container.networks)
    return container.name, container.state, container.health, addresses


def counts(labels: Mapping[str, str], project: str) -> bool:
    """Whether a container is of the mesh: of its project ("" = any), or with a label that says so.

    What `compose run` starts is a visitor with the labels of a service, and nobody's endpoint.
    """
    if SERVICE in labels:
        return True
    if labels.get(ONE_OFF, "").lower() == "true":
        return False
    return not project or labels.get(PROJECT) == project


def _name(names: object) -> str:
    """A container's own name, without those that links give it ("/other/alias")."""
    found = [one.strip("/") for one in names if isinstance(one, str)] if isinstance(names, list) else []
    return next((one for one in found if "/" not in one), "")


def _health(status: str) -> str:
    """From "Up 3 minutes (healthy)" or "Up 2 seconds (health: starting)"."""
    inside = status.rpartition("(")[2].rstrip(")") if status.endswith(")") else ""
    inside = inside.removeprefix("health: ")
    return inside if inside in ("starting", "healthy", "unhealthy") else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
