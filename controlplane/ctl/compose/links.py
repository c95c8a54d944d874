"""`links` of services: where they lead in a mesh.

Docker finds services by name without them.  A link waits for its service, and may call it by another name,
which only its owner knows.  In a mesh such a name is an alias of the service, so that the control plane knows
it, too; and no link is left: docker-compose 1.29 recreates who has one whenever anything before it changes,
and a sidecar that is recreated alone has lost its service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.ctl.compose import sidecar
from controlplane.ctl.compose.document import Value
from controlplane.ctl.compose.service import Service, listed, named


@dataclass(frozen=True, slots=True)
class Links:
    """All links of a project, some services of which are meshed."""

    project: Mapping[str, Service]
    meshed: Mapping[str, Service]

    def led(self, name: str) -> dict[str, Value]:
        """A service with the links that must stay, and waiting for the others, too."""
        found = dict(self.project[name])
        links = [_parts(link) for link in listed(found.get("links"))]
        if not any(one in self.meshed for one in (name, *(target for target, _ in links))):
            return found
        kept: list[Value] = [
            f"{sidecar.owner(target) if target in self.meshed else target}:{alias}"
            for target, alias in links
            if not self._found_by_dns(target, alias)
        ]
        found.pop("links", None)
        if kept:
            found["links"] = kept
        if links:
            needs: dict[str, Value] = {target: {"condition": "service_started"} for target, _ in links}
            found["depends_on"] = needs | sidecar.waits(found.get("depends_on"))
        return found

    def called(self, name: str) -> dict[str, Value]:
        """The same, and the names that others' links have for it are aliases in its networks."""
        service = self.led(name)
        names = {alias for target, alias in self._all() if target == name and alias != name}
        mine = [alias for alias in sorted(names) if self._found_by_dns(name, alias)]
        if not mine:
            return service
        networks: dict[str, Value] = {}
        for network, detail in (named(service.get("networks")) or {"default": None}).items():
            given = dict(detail) if isinstance(detail, dict) else {}
            before = listed(given.get("aliases"))
            networks[network] = {**given, "aliases": [*before, *(one for one in mine if one not in before)]}
        return {**service, "networks": networks}

    @property
    def notes(self) -> list[str]:
        """Names that cannot be aliases."""
        return [
            f"services.{name}.links: {alias!r} has other meanings, too, so it stays a link, for which "
            f"docker-compose 1.29 recreates the sidecar without {name} at times; give it a name of its own"
            for name, service in self.project.items()
            for target, alias in map(_parts, listed(service.get("links")))
            if self.meshed.keys() & {name, target} and not self._found_by_dns(target, alias)
        ]

    def _all(self) -> set[tuple[str, str]]:
        """Links that concern the mesh: (service, alias)."""
        return {
            (target, alias)
            for name, service in self.project.items()
            for target, alias in map(_parts, listed(service.get("links")))
            if name in self.meshed or target in self.meshed
        }

    def _found_by_dns(self, target: str, alias: str) -> bool:
        """Whether a name leads to a service without a link: its own, or one that can be made its alias."""
        meant = {other for other, name in self._all() if name == alias}
        service = self.project.get(target)
        named_there = service is not None and "network_mode" not in service
        return alias == target or (named_there and meant == {target} and alias not in self.project)


def _parts(link: Value) -> tuple[str, str]:
    """(service, alias) of a link."""
    target, _, alias = str(link).partition(":")
    return target, alias or target
