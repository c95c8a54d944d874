"""Who gets a sidecar, who cannot have one, and what their users should know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose.options import Options
from controlplane.ctl.compose.service import INJECT, PROXY, Service, joins, labels, replicas, uncountable


def picked(project: Mapping[str, Service], options: Options) -> tuple[dict[str, Service], list[str]]:
    """The services that get a sidecar, and why others that were asked for do not.

    MiniIstiodError when a flag names a service that is not there, or when none is left.
    """
    _check_names(project, options)
    found: dict[str, Service] = {}
    notes = []
    for name, service in project.items():
        why = unfit(service) or _absent(service, options.scale.get(name))
        asked = (not options.only or name in options.only) and name not in options.exclude
        if asked and not why and not _declined(service):
            found[name] = service
        elif why and asked:
            notes.append(f"services.{name}.{why}")
        if name not in found and options.scale.get(name, 1) > 1:
            remedy = _instead(project, service)
            raise MiniIstiodError(
                f"--scale: {name} gets no sidecar here{f' ({why})' if why else ''}; {remedy}"
            )
    if not found:
        raise MiniIstiodError("; ".join(["no service is left to mesh", *notes]))
    return found, notes


def _check_names(project: Mapping[str, Service], options: Options) -> None:
    flags = (("--only", options.only), ("--exclude", options.exclude), ("--scale", tuple(options.scale)))
    for flag, names in flags:
        for name in names:
            if name not in project:
                raise MiniIstiodError(f"{flag}: there is no service {name!r}; there are {', '.join(project)}")


def unfit(service: Service) -> str:
    """Why a service cannot have a sidecar, beginning with the key that says so, or ""."""
    mode = service.get("network_mode")
    if PROXY in labels(service):
        return f"labels: it is a proxy itself ({PROXY}); left as it is"
    if not isinstance(mode, str) or mode == "default":
        return ""
    if joins(service):
        return f"network_mode: {mode}: it shares the network of another, and its sidecar if there is one"
    return f"network_mode: {mode}: without a network of its own it is left out of the mesh"


def _instead(project: Mapping[str, Service], service: Service) -> str:
    """What to do about a service that cannot be scaled here."""
    owner = project.get(joins(service), service)
    if PROXY in labels(owner):
        # Copies that Compose makes would share its sidecar, or be a second proxy of its name.
        return (
            "its sidecar was written by hand: mesh the file without sidecars instead "
            "(of this project's bookstore deploy/bookstore/docker-compose.yml)"
        )
    return "scale what it is part of" if joins(service) else "use `docker-compose up --scale`"


def _absent(service: Service, asked: int | None) -> str:
    """Why nothing of a service runs, or ""; a scale that is asked for counts."""
    if asked or replicas(service):
        return ""
    return "scale: nothing of it runs, so it gets no sidecar; --scale SERVICE=1 does that"


def _declined(service: Service) -> bool:
    found = labels(service)
    return any(found.get(key, "").lower() == "false" for key in INJECT)


def remarks(name: str, service: Service) -> Iterator[str]:
    """What is meshed, and works otherwise than its user may think."""
    user = service.get("user")
    if isinstance(user, str) and re.match(r"1337(:|$)", user):
        yield f"services.{name}.user: 1337 is Envoy's user: what this service sends passes by its sidecar"
    if unknown := uncountable(service):
        yield f"services.{name}.scale: {unknown} counts as 1 here; --scale {name}=N says how many pairs"
