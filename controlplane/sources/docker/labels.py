"""The labels `mini-istiod.*` of containers: what they say, and what is wrong with them.

Every label is optional.  One that makes no sense is an error that names container, label, value and remedy,
and then the default counts as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from controlplane.model.checks import PROTOCOLS, is_dns_label
from controlplane.model.describe import nearest, printable, shorten
from controlplane.model.problem import Problem
from controlplane.sources.docker import mistakes
from controlplane.sources.docker.container import PREFIX, Container
from controlplane.sources.docker.names import is_host

NAMES = ("service", "ports", "version", "account", "protocol", "inject", "proxy", "init")
"""What may follow the prefix."""

MOST_UNKNOWN = 5
"""Labels of a container that are told one by one when they are not known."""
MOST_SERVICES = 100
MOST_PORTS = 1000
"""In one label: whoever writes more has made a mistake, and each is a part of every proxy's configuration."""

AUTO = "auto"
"""The protocol that is found out from the first bytes."""

_PROTOCOLS = (AUTO, *(name.lower() for name in PROTOCOLS if name not in ("UDP", "HTTP_PROXY")))
_PROTOCOL_REMEDY = "use " + ", ".join(_PROTOCOLS)
_RESERVED = ("com.docker.", "desktop.docker.", "io.docker.", "org.opencontainers.", PREFIX)
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_PORT = re.compile(r"(?:(?P<port>[0-9]{1,5}):)?(?P<target>[0-9]{1,5})(?:/(?P<protocol>[A-Za-z0-9-]+))?")
T = TypeVar("T")


class ServedPort(NamedTuple):
    """A port that clients dial, and where the container answers; `protocol` "" is not said."""

    port: int
    target: int
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What the labels of one workload say; None is nothing.  `services` () is: none, on purpose."""

    services: tuple[str, ...] | None = None
    ports: tuple[ServedPort, ...] | None = None
    version: str | None = None
    account: str | None = None
    protocol: str | None = None
    problems: tuple[Problem, ...] = ()


class _FaultError(ValueError):
    """Why a label's value cannot be used, and what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def said(containers: Sequence[Container], namespace: str) -> Said:
    """What the containers of a workload say; the first that has a label is heard."""
    problems: list[Problem] = [one for container in containers for one in _unknown(container, namespace)]

    def look(name: str, parse: Callable[[str], T]) -> T | None:
        for container in containers:
            value = container.label(PREFIX + name)
            if value is None:
                continue
            try:
                return parse(value.strip())
            except _FaultError as fault:
                message = f"{shorten(value)} {fault.message}; the default counts"
                problems.append(mistakes.error(container, namespace, _field(name), message, fault.remedy))
                return None
        return None

    return Said(
        services=look("service", _services),
        ports=look("ports", _ports),
        version=look("version", _version),
        account=look("account", _account),
        protocol=look("protocol", _protocol),
        problems=tuple(problems),
    )


def proxy_name(container: Container, namespace: str) -> str | Problem | None:
    """The name of the proxy that a container is; None where it is no proxy."""
    value = container.label(PREFIX + "proxy")
    if value is None:
        return None
    if is_dns_label(value):
        return value
    message = f"{shorten(value)} cannot name a proxy, so this container counts as any other"
    remedy = "use at most 63 lower case letters, digits and hyphens"
    return mistakes.error(container, namespace, _field("proxy"), message, remedy)


def workload_labels(containers: Sequence[Container]) -> dict[str, str]:
    """The labels that Kubernetes would take, of all containers of a workload; those of the first one win."""
    found: dict[str, str] = {}
    for container in reversed(containers):
        found.update((key, value) for key, value in container.labels if _is_label(key, value))
    return found


def _field(name: str) -> str:
    return f"labels[{PREFIX}{name}]"


def _unknown(container: Container, namespace: str) -> Iterator[Problem]:
    names = (key.removeprefix(PREFIX) for key, _ in container.labels if key.startswith(PREFIX))
    unknown = [name for name in names if name not in NAMES]
    known = "the labels are " + ", ".join(NAMES)
    for name in unknown[:MOST_UNKNOWN]:
        meant = nearest(name, NAMES)
        remedy = f"did you mean {PREFIX}{meant}?" if meant else known
        field = _field(printable(name))
        yield mistakes.warning(container, namespace, field, "is no label that is known", remedy)
    if more := len(unknown[MOST_UNKNOWN:]):
        message = f"{more} more begin with {PREFIX} and are not known"
        yield mistakes.warning(container, namespace, "labels", message, known)


def _is_label(key: str, value: str) -> bool:
    if key.startswith(_RESERVED):
        return False
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        return False
    return not value or _LABEL_NAME.fullmatch(value) is not None


def _services(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",") if part.strip()))
    if len(names) > MOST_SERVICES:
        raise _FaultError(f"holds {len(names)} names", f"write at most {MOST_SERVICES}")
    for name in names:
        if not is_host(name):
            raise _FaultError(f"holds {shorten(name)}, which is no DNS name", "write names like reviews")
    return names


def _ports(value: str) -> tuple[ServedPort, ...]:
    remedy = 'write ports like "9080", "80:9080" (dialled:answered) or "9080/http", with commas'
    found: dict[int, ServedPort] = {}
    for part in (part.strip() for part in value.split(",")):
        match = _PORT.fullmatch(part)
        if match is None:
            raise _FaultError(f"holds {shorten(part)}, which is no port", remedy)
        target = int(match["target"])
        port = int(match["port"] or target)
        if not (0 < port < 65536 and 0 < target < 65536):
            raise _FaultError(f"holds {shorten(part)}; ports are from 1 to 65535", remedy)
        if port in found:
            raise _FaultError(f"holds port {port} twice", "leave one of them out")
        protocol = (match["protocol"] or "").lower()
        if protocol and protocol not in _PROTOCOLS:
            raise _FaultError(f"holds the protocol {shorten(protocol)}, which is not known", _PROTOCOL_REMEDY)
        found[port] = ServedPort(port, target, protocol)
    if len(found) > MOST_PORTS:
        raise _FaultError(f"holds {len(found)} ports", f"write at most {MOST_PORTS}")
    return tuple(found[port] for port in sorted(found))


def _version(value: str) -> str:
    if not _LABEL_NAME.fullmatch(value):
        raise _FaultError("cannot be the value of a label", "use letters, digits, hyphens and dots, like v2")
    return value


def _account(value: str) -> str:
    if not is_dns_label(value):
        remedy = "use at most 63 lower case letters, digits and hyphens"
        raise _FaultError("cannot be the name of a service account", remedy)
    return value


def _protocol(value: str) -> str:
    if value.lower() not in _PROTOCOLS:
        raise _FaultError("is no protocol that is known", _PROTOCOL_REMEDY)
    return value.lower()
