"""What a project becomes: which services get a sidecar, how many pairs they are, and what is to be told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import plane, sidecar
from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.emit import Alias, Anchored, Output
from controlplane.ctl.compose.options import Options
from controlplane.ctl.compose.pairs import another
from controlplane.ctl.compose.plane import Around, Proxy
from controlplane.ctl.compose.service import (
    INJECT,
    PROXY,
    Service,
    account,
    joins,
    labels,
    named,
    pod,
    profiles,
    replicas,
    version,
)

ENVOY_ANCHOR = "mini-istiod-envoy"
INIT_ANCHOR = "mini-istiod-init"
_MANY = 30
"""Each Envoy holds four of the 128 inotify instances that a user has."""


@dataclass(slots=True)
class Plan:
    """`services` are the user's as they shall be, `added` the new ones, `notes` what the user should know."""

    services: dict[str, dict[str, Value]] = field(default_factory=dict)
    added: dict[str, dict[str, Output]] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan(project: Mapping[str, Service], options: Options) -> Plan:
    """Mesh a project; MiniIstiodError when it cannot be: a name that is taken or unknown."""
    _check_names(project, options)
    found = Plan()
    meshed = _meshed(project, options, found.notes)
    if not meshed:
        raise MiniIstiodError("no service is left to mesh" + "".join(f"\n  {note}" for note in found.notes))
    envoy = Alias(ENVOY_ANCHOR, sidecar.envoy_template(options.envoy_image))
    init = Alias(INIT_ANCHOR, sidecar.init_template(options.image))
    proxies: list[Proxy] = []
    for name, service in project.items():
        if name not in meshed:
            found.services[name] = beside(service, meshed)
            continue
        count = options.scale.get(name, replicas(service))
        changed = linked(service, meshed)
        found.services[name] = sidecar.joined(name, changed)
        found.notes += remarks(name, service)
        for number in range(1, count + 1):
            twin, copy, lost = another(name, changed, number)
            found.notes += lost
            found.added[sidecar.owner(twin)] = sidecar.envoy(twin, name, copy, envoy)
            found.added[sidecar.init(twin)] = sidecar.rules(twin, copy, init)
            if number > 1:
                found.added[twin] = dict(sidecar.joined(twin, copy))
            proxies.append(Proxy(twin, pod(twin), account(twin, copy), _labels(twin, copy)))
    around = Around(_networks(meshed), _profiles(meshed))
    if options.gateway:
        found.added[plane.GATEWAY] = plane.gateway(envoy, around)
        proxies.append(plane.GATEWAY_PROXY)
    found.added |= {
        sidecar.PLANE: plane.control_plane(options.image, options.mesh_dir, around),
        sidecar.PROVISION: plane.provision(options.image, proxies, around),
        plane.DOCKER: plane.docker_proxy(options.image, around),
    }
    found.volumes = [*plane.VOLUMES, *(sidecar.volume(one.service) for one in proxies)]
    _check_taken(project, found.added)
    _check_pods(proxies)
    if len(proxies) > _MANY:
        found.notes.append(
            f"{len(proxies)} Envoys on one machine need more than Linux gives a user by default: "
            "sysctl fs.inotify.max_user_instances=8192"
        )
    return found


def record(options: Options) -> dict[str, Output]:
    """What all sidecars have in common, to be pointed to."""
    return {
        "envoy": Anchored(ENVOY_ANCHOR, sidecar.envoy_template(options.envoy_image)),
        "init": Anchored(INIT_ANCHOR, sidecar.init_template(options.image)),
    }


def _labels(name: str, service: Service) -> tuple[tuple[str, str], ...]:
    """Labels for statistics; the control plane knows the workload's own from its container."""
    found = {"app": labels(service).get("app") or account(name, service), "version": version(name, service)}
    return tuple((key, given) for key, given in found.items() if given and "," not in given)


def _check_names(project: Mapping[str, Service], options: Options) -> None:
    flags = (("--only", options.only), ("--exclude", options.exclude), ("--scale", tuple(options.scale)))
    for flag, names in flags:
        for name in names:
            if name not in project:
                raise MiniIstiodError(f"{flag}: there is no service {name!r}; there are {', '.join(project)}")


def _check_taken(project: Mapping[str, Service], added: Mapping[str, object]) -> None:
    for name in added:
        if name in project:
            raise MiniIstiodError(
                f"services.{name}: the mesh needs the name, and this service is none of the mesh; rename it"
            )


def _check_pods(proxies: Iterable[Proxy]) -> None:
    taken: dict[str, str] = {}
    for one in proxies:
        other = taken.setdefault(one.name, one.service)
        if other != one.service:
            raise MiniIstiodError(
                f"services.{one.service}: its proxy and that of {other} are both {one.name}; rename it"
            )


def _meshed(project: Mapping[str, Service], options: Options, notes: list[str]) -> dict[str, Service]:
    found = {}
    for name, service in project.items():
        why = unfit(service)
        asked = (not options.only or name in options.only) and name not in options.exclude
        if asked and not why and not _declined(service):
            found[name] = service
        elif why and asked:
            notes.append(f"services.{name}.{why}")
        if name not in found and options.scale.get(name, 1) > 1:
            raise MiniIstiodError(f"--scale: {name} is not in the mesh; use `docker-compose up --scale`")
    return found


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


def _declined(service: Service) -> bool:
    found = labels(service)
    return any(found.get(key, "").lower() == "false" for key in INJECT)


def beside(service: Service, meshed: Mapping[str, Service]) -> dict[str, Value]:
    """A service without a sidecar: what it points to may have moved."""
    found = dict(linked(service, meshed))
    other = joins(service)
    if other in meshed:
        found["network_mode"] = f"service:{sidecar.owner(other)}"
        needs: dict[str, Value] = {
            sidecar.owner(other): {"condition": "service_healthy"},
            sidecar.init(other): {"condition": "service_completed_successfully"},
        }
        found["depends_on"] = needs | sidecar.waits(service.get("depends_on"))
    return found


def linked(service: Service, meshed: Mapping[str, Service]) -> dict[str, Value]:
    """The service with links to the sidecars of what it links to, and waiting for that as links make it."""
    found = dict(service)
    links = service.get("links")
    if not isinstance(links, list):
        return found
    moved: list[Value] = []
    needs: dict[str, Value] = {}
    for link in map(str, links):
        target, _, alias = link.partition(":")
        needs[target] = {"condition": "service_started"}
        moved.append(f"{sidecar.owner(target)}:{alias or target}" if target in meshed else link)
    found["links"] = moved
    found["depends_on"] = needs | sidecar.waits(service.get("depends_on"))
    return found


def remarks(name: str, service: Service) -> Iterator[str]:
    """What is meshed, and works otherwise than its user may think."""
    user = service.get("user")
    if isinstance(user, str) and re.match(r"1337(:|$)", user):
        yield f"services.{name}.user: 1337 is Envoy's user: what this service sends passes by its sidecar"
    for link in service.get("links") or []:
        target, _, alias = str(link).partition(":")
        if alias and alias != target:
            yield (
                f"services.{name}.links: {alias!r} is known to this service alone, and routes for {target} "
                f"do not apply to it; make it an alias in the networks of {target}"
            )


def _networks(meshed: Mapping[str, Service]) -> list[str]:
    found: dict[str, None] = {}
    for service in meshed.values():
        found |= dict.fromkeys(named(service.get("networks")) or ("default",))
    return sorted(found)


def _profiles(meshed: Mapping[str, Service]) -> list[str]:
    """Those of the mesh's services: none when any of the user's is there without one."""
    every = [profiles(service) for service in meshed.values()]
    return sorted({one for found in every for one in found}) if all(every) else []
