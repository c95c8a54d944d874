"""What a project becomes: the services of its user as they shall be, and those that are new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import plane, sidecar
from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.emit import Alias, Anchored, Inline, Output
from controlplane.ctl.compose.links import Links
from controlplane.ctl.compose.options import Options
from controlplane.ctl.compose.pairs import another
from controlplane.ctl.compose.pick import picked, remarks
from controlplane.ctl.compose.plane import Around, Proxy
from controlplane.ctl.compose.seal import mark
from controlplane.ctl.compose.service import (
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
from controlplane.ctl.compose.weave import MARK, SIDECAR

_ENVOY = "mini-istiod-envoy"
_INIT = "mini-istiod-init"
_MANY = 30
"""Each Envoy holds four of the 128 inotify instances that a user has."""

Services = Mapping[str, Mapping[str, Output]]


@dataclass(frozen=True, slots=True)
class Plan:
    """`services` are the user's as they shall be, `added` the new ones, `notes` what the user should know.

    `templates` is what the new ones point to, `marks` a digest of the sidecar of each service.
    """

    services: Mapping[str, dict[str, Value]]
    added: Services
    volumes: Sequence[str]
    notes: Sequence[str]
    templates: Mapping[str, Output]
    marks: Mapping[str, str]


class _Pair(NamedTuple):
    """A sidecar and what belongs to it, and what could not be taken over from the first of its kind."""

    proxy: Proxy
    services: Services
    notes: Sequence[str]


def plan(project: Mapping[str, Service], options: Options) -> Plan:
    """Mesh a project; MiniIstiodError when it cannot be: a name that is taken or unknown."""
    meshed, notes = picked(project, options)
    shared = Alias(_ENVOY, sidecar.envoy_template(options.envoy_image))
    init = Alias(_INIT, sidecar.init_template(options.image))
    links = Links(project, meshed)
    services = {
        name: sidecar.joined(name, links.led(name)) if name in meshed else beside(links.called(name), meshed)
        for name in project
    }
    pairs = [
        _pair(name, links.called(name), number, (shared, init))
        for name, service in meshed.items()
        for number in range(1, options.scale.get(name, replicas(service)) + 1)
    ]
    proxies = [one.proxy for one in pairs] + ([plane.GATEWAY_PROXY] if options.gateway else [])
    _check_pods(proxies)
    added = {name: service for one in pairs for name, service in one.services.items()}
    added |= _mesh_wide(options, proxies, Around(_networks(meshed), _profiles(meshed)), shared)
    _check_taken(project, added)
    notes += [note for name, service in meshed.items() for note in remarks(name, service)]
    notes += links.notes
    notes += [note for one in pairs for note in one.notes]
    return Plan(
        services=services,
        added=added,
        volumes=[*plane.VOLUMES, *(sidecar.volume(one.service) for one in proxies)],
        notes=[*notes, *_crowd(proxies)],
        marks={
            name: mark(added[owner])
            for name, service in services.items()
            if (owner := joins(service)) in added
        },
        templates={"envoy": Anchored(_ENVOY, shared.value), "init": Anchored(_INIT, init.value)},
    )


def _pair(name: str, service: Service, number: int, templates: tuple[Alias, Alias]) -> _Pair:
    """The pair of that number of a service; of the first the service itself is the user's."""
    envoy, init = templates
    twin, copy, notes = another(name, service, number)
    services: dict[str, Mapping[str, Output]] = {
        sidecar.owner(twin): sidecar.envoy(twin, name, copy, envoy),
        sidecar.init(twin): sidecar.rules(twin, copy, init),
    }
    if number > 1:
        kept = Inline({SIDECAR: mark(services[sidecar.owner(twin)])})
        services[twin] = {MARK: kept, **sidecar.joined(twin, copy)}
    return _Pair(Proxy(twin, pod(twin), account(twin, copy), _labels(twin, copy)), services, notes)


def _mesh_wide(options: Options, proxies: Sequence[Proxy], around: Around, envoy: Alias) -> Services:
    """The services of the mesh itself."""
    gateway = {plane.GATEWAY: plane.gateway(envoy, around)} if options.gateway else {}
    return {
        **gateway,
        sidecar.PLANE: plane.control_plane(options.image, options.mesh_dir, around),
        sidecar.PROVISION: plane.provision(options.image, proxies, around),
        plane.DOCKER: plane.docker_proxy(options.image, around),
    }


def _crowd(proxies: Sequence[Proxy]) -> list[str]:
    if len(proxies) <= _MANY:
        return []
    return [
        f"{len(proxies)} Envoys on one machine need more than Linux gives a user by default: "
        "sysctl fs.inotify.max_user_instances=8192"
    ]


def _labels(name: str, service: Service) -> tuple[tuple[str, str], ...]:
    """Labels for statistics; the control plane knows the workload's own from its container."""
    found = {"app": labels(service).get("app") or account(name, service), "version": version(name, service)}
    return tuple((key, given) for key, given in found.items() if given and "," not in given)


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


def beside(service: Service, meshed: Mapping[str, Service]) -> dict[str, Value]:
    """A service without a sidecar: what it points to may have moved."""
    found = dict(service)
    other = joins(service)
    if other in meshed:
        found["network_mode"] = f"service:{sidecar.owner(other)}"
        needs: dict[str, Value] = {
            sidecar.owner(other): {"condition": "service_healthy"},
            sidecar.init(other): {"condition": "service_completed_successfully"},
        }
        found["depends_on"] = needs | sidecar.waits(service.get("depends_on"))
    return found


def _networks(meshed: Mapping[str, Service]) -> list[str]:
    found: dict[str, None] = {}
    for service in meshed.values():
        found |= dict.fromkeys(named(service.get("networks")) or ("default",))
    return sorted(found)


def _profiles(meshed: Mapping[str, Service]) -> list[str]:
    """Those of the mesh's services: none when any of the user's is there without one."""
    every = [profiles(service) for service in meshed.values()]
    return sorted({one for found in every for one in found}) if all(every) else []
