"""Which ports a workload serves, and what they speak."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.sources.docker.container import Container, Exposed
from controlplane.sources.docker.labels import AUTO, Said, ServedPort

SERVER_FIRST = frozenset({21, 22, 23, 25, 110, 119, 143, 587, 1025, 3306, 4222, 5900, 33060})
"""Ports where by custom the server speaks first: waiting for the client's first bytes would never end."""

_ENVOY = frozenset({15000, 15001, 15006, 15020, 15021, 15053, 15090})
"""What a sidecar itself listens on."""
_IMAGE = Exposed(10000)
"""What the stock Envoy image exposes and nobody serves."""


def served_ports(
    owner: Container, apps: Iterable[Container], said: Said, *, proxy: bool
) -> tuple[ServedPort, ...]:
    """The TCP ports of a workload, sorted; what the labels say, else what is exposed and published."""
    ports = said.ports
    if ports is None:
        ports = tuple(ServedPort(number, number) for number in sorted(_default(owner, apps, proxy)))
    return tuple(port._replace(protocol=_protocol(port, said.protocol or "")) for port in ports)


def _default(owner: Container, apps: Iterable[Container], proxy: bool) -> set[int]:
    found = {*owner.exposed, *owner.published}
    if proxy and _IMAGE not in owner.published:
        found.discard(_IMAGE)
    for app in apps:
        if app is not owner:
            found.update((*app.exposed, *app.published))
    numbers = {one.port for one in found if one.protocol == "tcp"}
    return numbers - _ENVOY if proxy else numbers


def _protocol(port: ServedPort, said: str) -> str:
    return port.protocol or said or ("tcp" if port.target in SERVER_FIRST else AUTO)
