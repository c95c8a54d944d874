"""The services of Compose files, and the containers that they are when DNS says where they run.

Files are merged as Compose merges them, as far as it matters here: a later file's labels, ports and networks
are added to those before, of anything else the later one counts.  `profiles` say nothing: what is not
started has no address.  What needs Compose itself (`extends`, `include`) is not followed, and said so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from controlplane.model.describe import describe, shorten
from controlplane.model.problem import Problem
from controlplane.sources.docker.container import Attachment, Container, Exposed
from controlplane.sources.docker.names import PROJECT, SERVICE

PROJECT_NAME = "compose"
"""The project of these containers: their files need not say which it is."""

_KIND = "Compose"
_NETWORK = "dns"
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<rest>[^}]*))?\})"
)
_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?")
_MOST_PORTS = 1000


class File(NamedTuple):
    """A Compose file: its path, and the plain value of its YAML."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Written:
    """A service as its files have it; `joins` is the service or container whose network it shares."""

    name: str
    file: str
    labels: tuple[tuple[str, str], ...] = ()
    aliases: tuple[str, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    published: tuple[Exposed, ...] = ()
    network_mode: str = ""
    joins: str = ""
    container_name: str = ""

    @property
    def has_address(self) -> bool:
        """Whether DNS may know where it runs."""
        return not self.joins and self.network_mode not in ("host", "none")


def read_services(
    files: Sequence[File], environ: Mapping[str, str]
) -> tuple[dict[str, Written], list[Problem]]:
    """The services of these files by name, and what cannot be used of them."""
    found: dict[str, Written] = {}
    problems: list[Problem] = []
    for file in files:
        value = _filled(file.value, environ)
        services = value.get("services") if isinstance(value, Mapping) else None
        if not isinstance(services, Mapping):
            problems.append(
                _problem(file.path, "", "services", "is no mapping of services", "write services:")
            )
            continue
        if "include" in value:
            problems.append(_not_followed(file.path, "", "include"))
        for name in sorted(services):
            said = services[name]
            if not isinstance(said, Mapping):
                message = f"expected a mapping, got {describe(said)}"
                problems.append(_problem(file.path, name, "", message, "write the service's fields"))
                continue
            if "extends" in said:
                problems.append(_not_followed(file.path, name, "extends"))
            found[name] = _merged(found.get(name), _read(file.path, name, said, problems))
    return dict(sorted(found.items())), problems


def containers(services: Mapping[str, Written], addresses: Mapping[str, Sequence[str]]) -> list[Container]:
    """The containers of these services at these addresses (service -> addresses, none: it does not run)."""
    ids: dict[str, str] = {}
    found: list[Container] = []
    for name, service in services.items():
        places = list(_places(addresses.get(name, ()))) or [("", "")]
        for address, address6 in places if service.has_address else [("", "")]:
            one = _container(service, address, address6, several=len(places) > 1)
            ids.setdefault(name, one.id)
            ids.setdefault(one.name, one.id)
            found.append(one)
    running = {one.id for one in found if one.state == "running"}
    return [_joining(one, services, ids, running) for one in found]


def _container(service: Written, address: str, address6: str, *, several: bool) -> Container:
    name = service.container_name or service.name
    if several:
        name = f"{PROJECT_NAME}_{service.name}_{ipaddress.ip_address(address or address6).packed.hex()}"
    labels = dict(service.labels) | {SERVICE: service.name, PROJECT: PROJECT_NAME}
    attached = Attachment(_NETWORK, address, address6, service.aliases)
    return Container(
        id=name,
        name=name,
        labels=tuple(sorted(labels.items())),
        state="running" if address or address6 else "exited",
        health="",
        networks=(attached,) if service.has_address else (),
        joins=service.joins,
        network_mode=service.network_mode,
        exposed=service.exposed,
        published=service.published,
        created="",
        file=service.file,
    )


def _joining(
    one: Container, services: Mapping[str, Written], ids: Mapping[str, str], running: set[str]
) -> Container:
    """A container that shares a network runs when the network's owner does: DNS says no more."""
    if not one.joins:
        return one
    owner = ids.get(one.joins, "")
    return replace(one, joins=owner or one.joins, state="running" if owner in running else "exited")


def _places(addresses: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(IPv4, IPv6) of each container: one of each is one container, else each address is."""
    fours = sorted(address for address in addresses if ":" not in address)
    sixes = sorted(address for address in addresses if ":" in address)
    if len(fours) == 1:
        yield fours[0], sixes[0] if sixes else ""
    elif fours:
        yield from ((address, "") for address in fours)
    else:
        yield from (("", address) for address in sixes)


def _merged(before: Written | None, new: Written) -> Written:
    if before is None:
        return new
    return Written(
        name=new.name,
        file=new.file,
        labels=tuple(sorted((dict(before.labels) | dict(new.labels)).items())),
        aliases=tuple(sorted({*before.aliases, *new.aliases})),
        exposed=tuple(sorted({*before.exposed, *new.exposed})),
        published=tuple(sorted({*before.published, *new.published})),
        network_mode=new.network_mode or before.network_mode,
        joins=new.joins or before.joins,
        container_name=new.container_name or before.container_name,
    )


def _read(file: str, name: str, said: Mapping[str, Any], problems: list[Problem]) -> Written:
    mode = _text(said.get("network_mode"))
    kind, colon, target = mode.partition(":")
    return Written(
        name=name,
        file=file,
        labels=tuple(sorted(_labels(said.get("labels")).items())),
        aliases=tuple(sorted(set(_aliases(said.get("networks"))))),
        exposed=_ports(file, name, "expose", said.get("expose"), problems),
        published=_ports(file, name, "ports", said.get("ports"), problems),
        network_mode=mode,
        joins=target if colon and kind in ("service", "container") else "",
        container_name=_text(said.get("container_name")),
    )


def _labels(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {key: _text(given) for key, given in value.items()}
    pairs = (_text(one).partition("=") for one in value) if isinstance(value, list) else ()
    return {key: given for key, _, given in pairs if key}


def _aliases(networks: Any) -> Iterator[str]:
    for detail in networks.values() if isinstance(networks, Mapping) else ():
        aliases = detail.get("aliases") if isinstance(detail, Mapping) else None
        yield from (_text(alias) for alias in aliases or () if _text(alias))


def _ports(file: str, name: str, field: str, value: Any, problems: list[Problem]) -> tuple[Exposed, ...]:
    """The ports inside the container."""
    found: set[Exposed] = set()
    for index, one in enumerate(value if isinstance(value, list) else ()):
        numbers = _container_ports(one)
        if numbers is None:
            shown = shorten(one) if isinstance(one, str) else describe(one)
            message = f"{shown} is no port that can be read"
            told = _problem(file, name, f"{field}[{index}]", message, 'write "9080" or "8080:9080"')
            problems.append(replace(told, level="warning"))
        else:
            found.update(numbers)
    return tuple(sorted(found))


def _container_ports(value: Any) -> list[Exposed] | None:
    """Of "127.0.0.1:8080-8081:80-81/tcp", 80 or {target: 80}; None for what is no port."""
    if isinstance(value, Mapping):
        target = _text(value.get("target"))
        return _container_ports(f"{target}/{_text(value.get('protocol')) or 'tcp'}")
    found = _RANGE.fullmatch(_text(value).rpartition(":")[2])
    if found is None:
        return None
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if not 0 < first <= last < 65536 or last - first >= _MOST_PORTS:
        return None
    return [Exposed(number, found["protocol"] or "tcp") for number in range(first, last + 1)]


def _text(value: Any) -> str:
    """A scalar as Compose would have it as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """The value with variables put in: $NAME, ${NAME}, ${NAME:-default}, ${NAME:+other}, and $$ for $."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _variable(match, environ), value) if "$" in value else value
    if isinstance(value, list):
        return [_filled(one, environ) for one in value]
    return {key: _filled(one, environ) for key, one in value.items()} if isinstance(value, Mapping) else value


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    given = environ.get(match["name"] or match["bare"])
    how, rest = match["how"] or "", match["rest"] or ""
    there = bool(given) if how.startswith(":") else given is not None
    if how.endswith("+"):
        return rest if there else ""
    if how.endswith("-") and not there:
        return rest
    return given or ""


def _problem(file: str, name: str, field: str, message: str, remedy: str) -> Problem:
    at = ".".join(part for part in ("services", name, field) if part) if name else field
    return Problem("error", _KIND, "", name, file, None, at, message, remedy)


def _not_followed(file: str, name: str, field: str) -> Problem:
    message = "is not followed here: what it brings in is not known"
    remedy = "give this program what docker-compose config writes, which has everything in one file"
    return replace(_problem(file, name, field, message, remedy), level="warning")


def with_addresses(services: Iterable[Written]) -> list[str]:
    """The names to look up."""
    return [service.name for service in services if service.has_address]
