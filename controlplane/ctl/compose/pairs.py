"""Numbered pairs: a service and its sidecar several times.

`docker-compose up --scale` would join every copy to the first sidecar.  So each copy is written out.
"""

from __future__ import annotations

import re

from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.service import (
    ACCOUNT,
    VERSION,
    Service,
    account,
    labels,
    listed,
    named,
    version,
)

_VARIABLE = re.compile(r"\$\{[^}]*\}")
_ADDRESSES = {"ipv4_address", "ipv6_address", "link_local_ips"}
"""What only one container of a network can have."""


def another(name: str, service: Service, number: int) -> tuple[str, dict[str, Value], list[str]]:
    """(pod, service, notes) of the copy of that number; the first is the service itself.

    A copy has the account, version and names of the first, and nothing that only one container can have.
    """
    if number == 1:
        return name, dict(service), []
    found = dict(service)
    notes = []
    if container := service.get("container_name"):
        found["container_name"] = f"{container}-{number}"
    labelled = {ACCOUNT: account(name, service)}
    if label := version(name, service):
        labelled[VERSION] = label
    found["labels"] = {**labelled, **labels(service)}
    if found.pop("mac_address", None):
        notes.append(f"services.{name}.mac_address: not in the copies: only one container can have it")
    if "hostname" in found:
        found["hostname"] = f"{found['hostname']}-{number}"
    ports = [one for one in listed(service.get("ports")) if not _fixed(one)]
    if len(ports) < len(listed(service.get("ports"))):
        notes.append(f"services.{name}.ports: only the first of the pairs publishes ports of the host")
        found["ports"] = ports
        # What is published is a port of the service, in the copies, too.
        lost = [container_port(one) for one in listed(service.get("ports")) if _fixed(one)]
        found["expose"] = [*listed(service.get("expose")), *(one for one in lost if one)]
    networks = named(service.get("networks"))
    for network, detail in networks.items():
        if isinstance(detail, dict) and detail.keys() & _ADDRESSES:
            networks[network] = {key: given for key, given in detail.items() if key not in _ADDRESSES}
            notes.append(f"services.{name}.networks.{network}: the copies get other addresses than the first")
    if networks:
        found["networks"] = networks
    return f"{name}-{number}", found, notes if number == 2 else []


def _fixed(port: Value) -> bool:
    """Whether a published port names one port of the host: of "8000-8010:80" every copy takes one."""
    if isinstance(port, dict):
        published = port.get("published")
        return published is not None and "-" not in str(published)
    host, container, _ = _port(str(port))
    return bool(host) and ("-" not in host or "-" in container)


def container_port(port: Value) -> str:
    """The port of the container in a published one: "80", "80/udp", "8000-8010"."""
    if isinstance(port, dict):
        number, kind = str(port.get("target") or ""), str(port.get("protocol") or "tcp")
    else:
        _, number, kind = _port(str(port))
    return number if kind == "tcp" or not number else f"{number}/{kind}"


def _port(port: str) -> tuple[str, str, str]:
    """(host's, container's, protocol) of "127.0.0.1:${PORT:-80}:80/tcp"."""
    variables = _VARIABLE.findall(port)
    # A variable may hold any of the separators.
    bare = _VARIABLE.sub("\0", port)
    bare, slash, kind = bare.partition("/")
    host, _, container = bare.rpartition(":")
    host = host.rpartition(":")[2]
    parts = []
    for part in (host, container, kind if slash else "tcp"):
        while "\0" in part:
            part = part.replace("\0", "$", 1)
        parts.append(part)
    if variables and "$" in parts[1]:
        parts[1] = variables[-1]
    return parts[0], parts[1], parts[2]
