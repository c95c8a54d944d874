"""What can be wrong with containers, in words that name the container and say what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controlplane.model.describe import shorten
from controlplane.model.problem import Problem
from controlplane.sources.docker.container import KIND, PREFIX, Container
from controlplane.sources.docker.names import service_of
from controlplane.sources.docker.recreate import recreation, start


def error(container: Container, namespace: str, field: str, message: str, remedy: str) -> Problem:
    """The part of a container that `field` names is not used."""
    return Problem("error", KIND, namespace, container.name, container.origin, None, field, message, remedy)


def warning(container: Container, namespace: str, field: str, message: str, remedy: str) -> Problem:
    """The container is used, though perhaps not as its author meant."""
    return replace(error(container, namespace, field, message, remedy), level="warning")


def orphan(container: Container, namespace: str, sharing: Sequence[Container]) -> Problem:
    """It joined, as those sharing did, a network whose owner is gone."""
    return warning(
        container,
        namespace,
        "network_mode",
        "it shares the network of a container that is not there (any more), so nobody reaches it",
        recreation(container, None, sharing),
    )


def stranded(container: Container, namespace: str, owner: Container, sharing: Sequence[Container]) -> Problem:
    """It joined, as those sharing did, a network of an owner that has another one now."""
    return warning(
        container,
        namespace,
        "network_mode",
        f"{owner.name}, whose network it shares, was started anew since then: it keeps the old network, "
        "where nobody reaches it",
        recreation(container, owner, sharing),
    )


def left(container: Container, namespace: str, owner: Container, sharing: Sequence[Container]) -> Problem:
    """The owner of the network that it and those sharing joined has ended, and it runs on."""
    return warning(
        container,
        namespace,
        "network_mode",
        f"{owner.name}, whose network it shares, has ended, so nobody reaches it",
        recreation(container, owner, sharing),
    )


def bypassed(container: Container, namespace: str, sidecar: Container) -> Problem:
    """It has the name of a sidecar's application, and is not behind it."""
    return warning(
        container,
        namespace,
        "network_mode",
        f"it runs beside its sidecar {sidecar.name}, not behind it: what it sends and gets is in plaintext, "
        "and no rule holds for it",
        start(sidecar),
    )


def copies(container: Container, namespace: str, first: Container, sidecar: Container) -> Problem:
    """It is the second container of its service behind one sidecar."""
    service = service_of(container)
    return warning(
        container,
        namespace,
        "network_mode",
        f"it shares the network of {sidecar.name} with {first.name}, of the same service: one address, where "
        "only one of them can serve a port",
        f"take it back (up -d --scale {service}=1) and make pairs: "
        f"mini-istioctl compose mesh --scale {service}=2",
    )


def second_proxy(container: Container, namespace: str, proxy: str, other: Container) -> Problem:
    """Two containers say that they are one proxy."""
    return error(
        container,
        namespace,
        f"labels[{PREFIX}proxy]",
        f"{shorten(proxy)} is the proxy of {other.name} already; this container is not used",
        "give each sidecar a name and an application of its own (mini-istioctl compose mesh --scale)",
    )


def on_the_host(container: Container, namespace: str) -> Problem:
    """network_mode: host."""
    return warning(
        container,
        namespace,
        "network_mode",
        "it is on the host's network and has no address of its own, so it is no part of the mesh",
        "put it on a network of its project, or describe it with a ServiceEntry",
    )


def unreachable(container: Container, namespace: str) -> Problem:
    """None of its networks counts."""
    on = ", ".join(one.network for one in container.networks) or "none"
    return warning(
        container,
        namespace,
        "networks",
        f"it is on no network that the control plane shares (its networks: {on}), so it has no endpoints",
        "put it and the control plane on a common network",
    )


def without_application(container: Container, namespace: str, proxy: str) -> Problem:
    """A sidecar alone: perhaps its application starts in a moment."""
    told = warning(
        container,
        namespace,
        f"labels[{PREFIX}proxy]",
        f"no application has joined the network of the proxy {shorten(proxy)} yet",
        f'start it with network_mode: "service:{service_of(container)}"',
    )
    return replace(told, level="info")


def without_ports(container: Container, namespace: str, hosts: Sequence[str], *, explicit: bool) -> Problem:
    """It has names and nothing to call; `explicit`: a label says that it is a service."""
    told = warning(
        container,
        namespace,
        "ports",
        f"it says no port, so that nobody can call {', '.join(hosts)} by name",
        f'write expose: ["8080"], or the label {PREFIX}ports: "8080"; {PREFIX}service: "" if nobody should',
    )
    return told if explicit else replace(told, level="info")


def many_ports(container: Container, namespace: str, found: tuple[int, int], most: int) -> Problem:
    """It has so many (names, ports) that all proxies would be busy with it, and everybody else wait."""
    hosts, ports = found
    return error(
        container,
        namespace,
        "ports",
        f"it has {ports} ports under {hosts} names, of which the first {most} ports count",
        f"name those that are called with the label {PREFIX}ports",
    )


def no_host(container: Container, namespace: str, name: str) -> Problem:
    """Docker allows names that DNS does not."""
    return warning(
        container,
        namespace,
        "name",
        f"{shorten(name)} is no DNS name, so no service is called so",
        f"give it another network alias, or name it with the label {PREFIX}service",
    )


def disagreement(
    container: Container,
    namespace: str,
    host: str,
    theirs: Mapping[int, str],
    other: tuple[Container, Mapping[int, str]],
) -> Problem:
    """One service has other ports, or speaks something else, in another container; port -> protocol."""
    first, ours = other
    what = "ports" if ours.keys() != theirs.keys() else "protocols"
    return warning(
        container,
        namespace,
        "ports",
        f"{host} has other {what} here ({_listed(theirs)}) than in {first.name} ({_listed(ours)}); "
        "a port leads to the containers that have it",
        f"give both the same label {PREFIX}ports, or services of their own ({PREFIX}service)",
    )


def without_sidecar(container: Container, namespace: str, host: str, meshed: Container) -> Problem:
    """It shares a name with containers that have sidecars: perhaps by a slip, perhaps it intrudes."""
    return warning(
        container,
        namespace,
        "service",
        f"{host} is served without a sidecar here, and with one by {meshed.name}: a part of the calls is in "
        "plaintext, to whoever this is",
        f"give it a sidecar (mini-istioctl compose mesh), or a service of its own ({PREFIX}service)",
    )


def _listed(ports: Mapping[int, str]) -> str:
    return ", ".join(f"{number}/{ports[number]}" for number in sorted(ports))
