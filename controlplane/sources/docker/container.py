"""One container as Docker tells of it: the few facts that decide what it is to a mesh.

The facts come from GET /containers/ID/json.  Engines differ: since 25.0 an attachment has `DNSNames`
(all names that Docker's DNS answers to) and its `Aliases` no longer hold the short id; before that the
aliases are all there is.  Nothing else of an answer is read: `FIELDS` is the whole list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from controlplane.model.hosts import is_address
from controlplane.model.problem import Problem
from controlplane.sources.docker.shape import mapping, text
from controlplane.sources.docker.stopping import started

FIELDS = (
    "Id",
    "Name",
    "Created",
    "State.Status",
    "State.Health.Status",
    "State.StartedAt",
    "Config.Labels",
    "Config.ExposedPorts",
    "HostConfig.NetworkMode",
    "HostConfig.PortBindings",
    "NetworkSettings.Networks.*.IPAddress",
    "NetworkSettings.Networks.*.GlobalIPv6Address",
    "NetworkSettings.Networks.*.Aliases",
    "NetworkSettings.Networks.*.DNSNames",
)
"""What is read of Docker's answer; `*` stands for any key."""

PREFIX = "mini-istiod."
"""What the labels begin with that speak to this program."""

INIT = PREFIX + "init"
"""A label of what ends before the application starts, as init containers do."""

KIND = "Container"
"""The kind of the objects that Problems about containers name."""

_SHORT = 12
"""Characters of a short id, which Docker's DNS answers to and nobody writes down."""
_JOINS = "container:"


class Attachment(NamedTuple):
    """A container's place on a network; addresses are "" where it has none (it is stopped).

    `aliases` are the names that Docker's DNS answers to there, sorted, without the short id.
    """

    network: str
    address: str
    address6: str
    aliases: tuple[str, ...]


class Exposed(NamedTuple):
    """A port inside the container; `protocol` is tcp, udp or sctp."""

    port: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Container:
    """A container.

    `state` is Docker's: created, running, paused, restarting, removing, exited or dead; `health` is "" (no
    check), starting, healthy or unhealthy.  `joins`: the id of the container whose network it shares, "" for
    its own.  `exposed` are ports of the image or of `expose`, `published` those that are published too.
    `created` is Docker's time of creation, `started` of the last start in Unix seconds (0: unknown).
    `stopping`: it was told to end and has not yet.  `file` is where it was read from, "" for Docker itself.
    """

    id: str
    name: str
    labels: tuple[tuple[str, str], ...]
    state: str
    health: str
    networks: tuple[Attachment, ...]
    joins: str
    network_mode: str
    exposed: tuple[Exposed, ...]
    published: tuple[Exposed, ...]
    created: str
    stopping: bool = False
    file: str = ""
    started: float = 0.0

    @property
    def running(self) -> bool:
        """Whether it answers, or did a moment ago and will again."""
        return self.state in ("running", "paused", "restarting")

    @property
    def origin(self) -> str:
        """Where a Problem says it is."""
        return self.file or f"docker:{self.name}"

    def label(self, name: str) -> str | None:
        """The value of a label, None where there is none."""
        return next((value for key, value in self.labels if key == name), None)


def read(inspected: Mapping[str, Any]) -> Container | Problem:
    """The container of one answer to GET /containers/ID/json, or why there is none.  Never raises."""
    id = inspected.get("Id")
    name = inspected.get("Name")
    if not isinstance(id, str) or not id or not isinstance(name, str) or not name.strip("/"):
        return _unreadable(str(id or name or "?"), "it has no Id or no Name")
    name = name.strip("/")
    state, config, host = (mapping(inspected.get(key)) for key in ("State", "Config", "HostConfig"))
    status = state.get("Status")
    if not isinstance(status, str) or not status:
        return _unreadable(name, "it has no State.Status")
    mode = text(host.get("NetworkMode"))
    return Container(
        id=id,
        name=name,
        labels=tuple(sorted((key, text(value)) for key, value in mapping(config.get("Labels")).items())),
        state=status,
        health=_health(text(mapping(state.get("Health")).get("Status"))),
        networks=tuple(_attachments(id, mapping(mapping(inspected.get("NetworkSettings")).get("Networks")))),
        joins=mode.removeprefix(_JOINS) if mode.startswith(_JOINS) else "",
        network_mode=mode,
        exposed=_ports(mapping(config.get("ExposedPorts"))),
        published=_ports(mapping(host.get("PortBindings"))),
        created=text(inspected.get("Created")),
        started=max(started(inspected), 0.0),
    )


def _unreadable(name: str, reason: str) -> Problem:
    message = f"Docker's answer about this container cannot be used: {reason}"
    remedy = "look at it with docker inspect, and at what stands between Docker and this program"
    return Problem("error", KIND, "", name, f"docker:{name}", None, "", message, remedy)


def _health(said: str) -> str:
    # "none" is what Docker says of a container without a check, in some places.
    return "" if said == "none" else said


def _attachments(id: str, networks: Mapping[str, Any]) -> Iterator[Attachment]:
    for network in sorted(networks):
        said = mapping(networks[network])
        names = {*_names(said.get("Aliases")), *_names(said.get("DNSNames"))} - {id[:_SHORT], id}
        address, address6 = text(said.get("IPAddress")), text(said.get("GlobalIPv6Address"))
        yield Attachment(
            network,
            address if is_address(address) else "",
            address6 if is_address(address6) else "",
            tuple(sorted(names)),
        )


def _names(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield from (name for name in value if isinstance(name, str) and name)


def _ports(said: Mapping[str, Any]) -> tuple[Exposed, ...]:
    """The ports of a mapping whose keys are "9080/tcp"."""
    found: set[Exposed] = set()
    for key in said:
        number, _, protocol = key.partition("/")
        if number.isascii() and number.isdigit() and 0 < int(number[:6]) < 65536:
            found.add(Exposed(int(number), protocol or "tcp"))
    return tuple(sorted(found))
