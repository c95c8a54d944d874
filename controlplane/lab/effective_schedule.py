"""Changes whose effect a request can see, one after the other, and what to ask to see it.

route     another VirtualService: the request arrives with its number in a header
endpoint  another endpoint in place of the only one: another address answers
service   a service that was not there: another address than the service's own answers
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from controlplane.lab.churn import markers
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.objects import PORT, Pod, service_entry
from controlplane.lab.churn.plan import Plan
from controlplane.lab.churn.scenario import Scenario
from controlplane.lab.churn.workload import Edit, Workload
from controlplane.lab.fetch import Target

KINDS = ("route", "endpoint", "service")
NETWORKS = ("11.0.0.0/8", "20.0.0.0/8", "10.200.0.0/16")
"""Where the mesh's endpoints are, those of changes and the others; and the addresses of services to come.

A proxy that does not know a service passes the request through to the address it was sent to.  So that
one answers, too: at once, and without a number.
"""
_PROBED = 3
"""How many services of a kind change; each has its statistics kept in every Envoy."""


class Step(NamedTuple):
    """One change to measure: `at` seconds after the start, seen by asking `host` at `target`."""

    at: float
    kind: str
    edit: Edit
    host: str
    target: Target


@dataclass(frozen=True, slots=True)
class Schedule:
    """All changes of a run; `workload` has what is there before."""

    workload: Workload
    steps: tuple[Step, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """What is asked for, sorted."""
        return tuple(sorted({step.host for step in self.steps}))


def schedule(mesh: Mesh, changes: int, interval: float, seed: int, kinds: Sequence[str] = KINDS) -> Schedule:
    """So many changes, kind after kind, one each `interval` seconds; the same for the same arguments.

    The mesh is told in ServiceEntries and has one endpoint for each service, so that a single answer
    tells which endpoints there are.
    """
    scenario = Scenario(
        "effective", "One change at a time, of every kind that a request can see.", mesh, _fill
    )
    seconds = interval * (changes + 1)
    made = scenario(mesh, seed, seconds, changes=changes, interval=interval, kinds=tuple(kinds))
    addresses = dict(_addresses(made.initial))
    steps = []
    for number, event in enumerate(made.events):
        (edit,) = event.changes
        addresses.update(_addresses([edit.raw]))
        host = edit.raw["spec"]["hosts"][0]
        kind = kinds[number % len(kinds)]
        steps.append(Step(event.at, kind, edit, host, Target(None, addresses[host], PORT)))
    return Schedule(made, tuple(steps))


def _fill(plan: Plan, *, changes: int = 30, interval: float = 1.5, kinds: tuple[str, ...] = KINDS) -> None:
    mesh, chance = plan.mesh, plan.chance("services")
    ruled = [i for i in range(mesh.services) if mesh.has_virtual_service(i)][:_PROBED]
    plain = [i for i in range(mesh.services) if not mesh.has_virtual_service(i)][:_PROBED]
    make: dict[str, Callable[[int], Iterable[Edit]]] = {
        "route": lambda _: [plan.virtual_service(chance.one(ruled), chance)],
        "endpoint": lambda _: _rotate(plan, chance.one(plain)),
        "service": lambda n: [_arrive(plan, n)],
    }
    for n in range(changes):
        plan.at((n + 1) * interval, lambda _, n=n: make[kinds[n % len(kinds)]](n))  # type: ignore[misc]


def _rotate(plan: Plan, i: int) -> Iterable[Edit]:
    return plan.rotate(i, plan.loose(i))


def _arrive(plan: Plan, n: int) -> Edit:
    def entry(number: int) -> dict[str, Any]:
        pods = [Pod("", markers.address(number))]
        return service_entry(
            markers.word(number), plan.mesh.namespace(n), f"10.200.{n // 256}.{n % 256}", pods
        )

    return plan.put(entry)


def _addresses(objects: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Host and virtual address of every service."""
    for raw in objects:
        if raw["kind"] == "ServiceEntry":
            yield raw["spec"]["hosts"][0], raw["spec"]["addresses"][0]
