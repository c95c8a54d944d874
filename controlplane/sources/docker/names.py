"""What a container's service is called: the names that Docker's DNS answers to, and what they tell.

Compose gives a container its service's name and its aliases on every network; Docker itself knows it by the
container's name.  Names that a tool made up (`shop_web_1`) are nobody's to write down, so they count as none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from controlplane.model.checks import is_dns_label
from controlplane.model.hosts import DOMAIN, host_fault
from controlplane.sources.docker.container import Container

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
NUMBER = "com.docker.compose.container-number"

_VERSION = re.compile(r"(?P<rest>.+)-(?P<version>v[0-9]+)")
_REPLACED = re.compile(r"^[0-9a-f]{12}_")
"""What Compose puts before the name of a container while it is being replaced."""
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9.-]+")
_LONGEST = 253
_LONGEST_LABEL = 63


def service_of(container: Container) -> str:
    """What its author calls the container: its Compose service, else its name."""
    return container.label(SERVICE) or container.name


def default_version(service: str) -> str:
    """ "v2" of "reviews-v2"; "" where the name ends in no version."""
    found = _VERSION.fullmatch(service.lower())
    return "" if found is None else found["version"]


def default_account(service: str) -> str:
    """ "reviews" of "reviews-v2": replicas and versions of one program share an identity."""
    found = _VERSION.fullmatch(service.lower())
    return pod_name(service if found is None else found["rest"])


def pod_name(service: str) -> str:
    """What the pod of a service and its proxy are called: a DNS label."""
    return object_name(service).replace(".", "-")[:_LONGEST_LABEL].strip("-")


def object_name(text: str) -> str:
    """The nearest name that Kubernetes takes for an object; "x" where nothing of it can stay."""
    return _NOT_IN_A_NAME.sub("-", text.lower())[:_LONGEST].strip("-.") or "x"


def is_host(name: str) -> bool:
    """Whether clients can dial it: a DNS name, in which Docker allows underscores too."""
    return host_fault(name, wildcard=False) is None


def short_name(host: str, namespace: str) -> str:
    """A host without what a cluster would add to it: some give containers the names that they have there."""
    for suffix in (f".{namespace}.svc.{DOMAIN}", f".{namespace}.svc", f".{namespace}"):
        if host.endswith(suffix):
            return host.removesuffix(suffix)
    return host


def is_service_name(name: str) -> bool:
    """Whether Kubernetes takes it for a Service: one label, without underscores."""
    return is_dns_label(name)


def dns_names(container: Container, networks: Collection[str] | None, *, sidecar: bool) -> tuple[str, ...]:
    """The names of a container that clients may dial, in lower case and sorted.

    `networks`: those that count, None for all.  Of a sidecar neither its own Compose service nor its
    container's name is one: they are the sidecar's, not its application's.
    """
    chosen = _REPLACED.sub("", container.name)
    found = {*_aliases(container, networks), chosen}
    if sidecar:
        found -= {chosen, container.label(SERVICE)}
    elif not is_one_off(container.label(ONE_OFF)):
        found.add(service_of(container))
    made_up = _made_up(container)
    return tuple(sorted({name.lower() for name in found if made_up is None or not made_up.fullmatch(name)}))


def _aliases(container: Container, networks: Collection[str] | None) -> Iterator[str]:
    for attachment in container.networks:
        if networks is None or attachment.network in networks:
            yield from attachment.aliases


def is_one_off(label: str | None) -> bool:
    """Whether the value of ONE_OFF says that it is a `docker-compose run`, which is nobody's server."""
    return (label or "").lower() == "true"


def _made_up(container: Container) -> re.Pattern[str] | None:
    """What the names look like that Compose makes up for the containers of this service."""
    project, service = container.label(PROJECT), container.label(SERVICE)
    if not project or not service:
        return None
    stem = f"{re.escape(project)}[-_]{re.escape(service)}[-_]"
    return re.compile(rf"(?:[0-9a-f]+_)?{stem}(?:run[-_])?[0-9a-f]+", re.IGNORECASE)
