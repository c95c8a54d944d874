"""The list of containers: who is there, who counts, and whose short description is not what is known of them.

The list is one cheap question for any number of containers, and the truth about which there are; it has no
ports and no names in DNS, so whoever is new in it, or other than before, is asked about alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from controlplane.sources.docker.container import PREFIX, Container
from controlplane.sources.docker.names import ONE_OFF, PROJECT, is_one_off
from controlplane.sources.docker.shape import mapping, text

_SERVICE = PREFIX + "service"

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

_Addresses: TypeAlias = tuple[tuple[str, str, str], ...]


class Summary(NamedTuple):
    """One container of the list; `health` and `addresses` are None where the list does not say.

    `addresses` are (network, IPv4, IPv6), sorted.
    """

    id: str
    labels: Mapping[str, str]
    name: str
    state: str
    health: str | None
    addresses: _Addresses | None

    def shows(self, known: Container) -> bool:
        """Whether this is how the list shows a container that is as known."""
        addresses = tuple((one.network, one.address, one.address6) for one in known.networks)
        return (
            (self.name, self.state) == (known.name, known.state)
            and self.health in (None, known.health)
            and self.addresses in (None, addresses)
        )


def summarize(raw: Mapping[str, Any]) -> Summary | None:
    """One item of the list, None where it has no id."""
    id = raw.get("Id")
    if not isinstance(id, str) or not id:
        return None
    labels = {key: text(value) for key, value in mapping(raw.get("Labels")).items()}
    state, status = text(raw.get("State")), raw.get("Status")
    # Of one that is stopped or paused the list does not say what its health was, and Docker still knows.
    health = _health(status) if isinstance(status, str) and state == "running" else None
    return Summary(id, labels, _name(raw.get("Names")), state, health, _addresses(raw))


def counts(labels: Mapping[str, str], project: str) -> bool:
    """Whether a container is of the mesh: of its project ("" = any), or with a label that says so.

    What `compose run` starts is a visitor with the labels of a service, and nobody's endpoint.
    """
    if _SERVICE in labels:
        return True
    if is_one_off(labels.get(ONE_OFF)):
        return False
    return not project or labels.get(PROJECT) == project


def _addresses(raw: Mapping[str, Any]) -> _Addresses | None:
    networks = mapping(raw.get("NetworkSettings")).get("Networks")
    if not isinstance(networks, Mapping):
        return None
    found = []
    for name in sorted(networks):
        one = mapping(networks[name])
        found.append((name, text(one.get("IPAddress")), text(one.get("GlobalIPv6Address"))))
    return tuple(found)


def _name(names: object) -> str:
    """A container's own name, without those that links give it ("/other/alias")."""
    found = [one.strip("/") for one in names if isinstance(one, str)] if isinstance(names, list) else []
    return next((one for one in found if "/" not in one), "")


def _health(status: str) -> str:
    """From "Up 3 minutes (healthy)" or "Up 2 seconds (health: starting)"."""
    inside = status.rpartition("(")[2].rstrip(")") if status.endswith(")") else ""
    inside = inside.removeprefix("health: ")
    return inside if inside in ("starting", "healthy", "unhealthy") else ""
