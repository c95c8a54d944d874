"""Containers in a test: what Compose makes of a service, and of a service with a sidecar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.sources.docker.container import Attachment, Container, Exposed
from controlplane.sources.docker.objects import Described, Place, describe

NETWORK = "shop_default"


def container(service: str, address: str = "", **said: Any) -> Container:
    """A container of Compose's, running on the project's network under its service's name.

    `said`: labels (a mapping), aliases, ports (exposed), published, joins (a container), and the fields of
    Container, in place of what would be there.
    """
    name = said.pop("name", f"shop_{service}_1")
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": service}
    labels.update(said.pop("labels", {}))
    joins: Container | None = said.pop("joins", None)
    aliases = tuple(sorted({service, *said.pop("aliases", ())}))
    known: dict[str, Any] = {
        "id": name.replace("_", "0").ljust(64, "0"),
        "name": name,
        "labels": tuple(sorted(labels.items())),
        "state": "running",
        "health": "",
        "networks": () if joins else (Attachment(NETWORK, address, "", aliases),),
        "joins": joins.id if joins else "",
        "network_mode": f"container:{joins.id}" if joins else NETWORK,
        "exposed": exposed(said.pop("ports", ())),
        "published": exposed(said.pop("published", ())),
        "created": "2026-11-20T10:00:00Z",
    }
    return Container(**(known | said))


def meshed(service: str, address: str, **said: Any) -> list[Container]:
    """A service with its sidecar and its init container; `envoy` are what is said of the sidecar."""
    envoy = {"health": "healthy", **said.pop("envoy", {})}
    aliases = (service, *said.pop("aliases", ()))
    label = {"mini-istiod.proxy": service}
    owner = container(f"{service}-envoy", address, labels=label, aliases=aliases, ports=(10000,), **envoy)
    init = container(f"{service}-init", joins=owner, state="exited", ports=(15012,))
    return [owner, init, container(service, joins=owner, **said)]


def exposed(ports: Iterable[int]) -> tuple[Exposed, ...]:
    return tuple(Exposed(port) for port in sorted(ports))


def described(*containers: Container, networks: frozenset[str] | None = None) -> Described:
    return describe(containers, Place("default", networks))


def kind(found: Described, name: str) -> dict[str, Mapping[str, Any]]:
    """The objects of a kind by name."""
    return {one["metadata"]["name"]: one for one in found.objects if one["kind"] == name}


def endpoints(found: Described, service: str) -> dict[str, tuple[bool, bool]]:
    """Address -> (ready, terminating), of all slices of a service."""
    return {
        one["addresses"][0]: (one["conditions"]["ready"], one["conditions"]["terminating"])
        for part in kind(found, "EndpointSlice").values()
        if part["metadata"]["labels"]["kubernetes.io/service-name"] == service
        for one in part["endpoints"]
    }


def told(found: Described) -> list[tuple[str, str, str]]:
    """(level, container, field) of all Problems; each says what is wrong and what to do."""
    assert all(one.message and one.remedy and one.file for one in found.problems)
    return [(one.level, one.name, one.field) for one in found.problems]
