"""How a schedule is made: who runs where by now, the next number, and edits that belong together.

A pod that is replaced gets a new address, as in a cluster.  The first of the new ones gets the
address that says the number of the change.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from controlplane.lab.churn import arrivals, markers
from controlplane.lab.churn.arrivals import Arrivals, Chance
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.objects import Pod, Raw
from controlplane.lab.churn.workload import Edit, Event, Reconnect

Step: TypeAlias = Callable[[float], Iterable[Edit]]
"""What happens at a time: its edits, made when all earlier ones are."""


class Plan:
    """A schedule in the making.

    `initial` are the objects that are there from the start, None for the mesh's own.
    """

    def __init__(self, mesh: Mesh, seed: int, seconds: float) -> None:
        self.mesh = mesh
        self.seed = seed
        self.seconds = seconds
        self.initial: list[Raw] | None = None
        self.storms: list[Reconnect] = []
        self._steps: list[tuple[float, int, Step]] = []
        self._order = 0
        self._number = 0
        self._pods: dict[int, tuple[Pod, ...]] = {}
        self._spent: dict[int, int] = {}

    def chance(self, purpose: str) -> Chance:
        return Chance(self.seed, purpose)

    def times(self, arrival: Arrivals | str, purpose: str = "times") -> list[float]:
        """The times before the end."""
        return arrivals.until(self.seconds, arrival, self.chance(purpose))

    def at(self, seconds: float, step: Step) -> None:
        """Have `step` make its edits when its time has come; what is after the end is left out."""
        if seconds < self.seconds:
            self._order += 1
            heapq.heappush(self._steps, (round(seconds, 6), self._order, step))

    def events(self) -> tuple[Event, ...]:
        """Take all steps in order of time; edits of equal times are one event."""
        made: dict[float, list[Edit]] = {}
        while self._steps:
            at, _, step = heapq.heappop(self._steps)
            made.setdefault(at, []).extend(step(at))
        return tuple(Event(at, tuple(edits)) for at, edits in made.items() if edits)

    # -- edits ----------------------------------------------------------------------------------

    def put(self, make: Callable[[int], Raw], marked: bool = True) -> Edit:
        """Write the object that `make` makes of the change's number."""
        self._number += 1
        return Edit(self._number, "put", make(self._number), marked)

    def delete(self, raw: Raw) -> Edit:
        self._number += 1
        return Edit(self._number, "delete", raw, marked=False)

    def virtual_service(self, i: int, chance: Chance) -> Edit:
        """The VirtualService of service i with other weights."""
        weight = 1 + chance.number(99)
        return self.put(lambda number: self.mesh.virtual_service(i, weight, number))

    def destination_rule(self, i: int, chance: Chance) -> Edit:
        """The DestinationRule of service i with another limit."""
        limit = 1 + chance.number(10_000)
        return self.put(lambda number: self.mesh.destination_rule(i, limit, number))

    def pods(self, i: int) -> tuple[Pod, ...]:
        """Who serves service i by now; those that stand come first."""
        return self._pods.get(i) or self.mesh.pods(i)

    def loose(self, i: int) -> tuple[Pod, ...]:
        """The pods of service i that may go; one at least."""
        pods = self.pods(i)
        return pods[min(self.mesh.standing, len(pods) - 1) :]

    def rotate(self, i: int, gone: Sequence[Pod], version: str = "", avoid: str = "") -> list[Edit]:
        """Put new pods in the places of `gone`: of the same versions or of `version`, not on node `avoid`."""
        new = [self._spare(i, version or pod.version, avoid) for pod in gone]
        return self.turn(i, gone, new)

    def turn(self, i: int, gone: Sequence[Pod], new: Sequence[Pod]) -> list[Edit]:
        """Take pods away from service i and add others (at least one), in one change of its endpoints."""
        objects = self.mesh.has_pod_objects
        # The endpoints' number follows those of the Pods; the first new pod's address says it.
        number = self._number + 1 + (len(new) if objects else 0)
        new = [new[0]._replace(address=markers.address(number)), *new[1:]]
        left = tuple(pod for pod in self.pods(i) if pod not in gone)
        self._pods[i] = (*left, *new)
        edits = [self._pod(i, pod) for pod in new] if objects else []
        edits.append(self.put(lambda _: self.mesh.members(i, self.pods(i))))
        if objects:
            edits += [self.delete(self.mesh.pod(i, pod)) for pod in gone]
        return edits

    def spares(self, i: int, like: Sequence[Pod], avoid: str = "") -> list[Pod]:
        """New pods of the versions of `like`, which are not yet anywhere."""
        return [self._spare(i, pod.version, avoid) for pod in like]

    def _pod(self, i: int, pod: Pod) -> Edit:
        return self.put(lambda _: self.mesh.pod(i, pod), marked=False)

    def _spare(self, i: int, version: str, avoid: str) -> Pod:
        names = {pod.name for pod in self.pods(i)}
        while True:
            spent = self._spent[i] = self._spent.get(i, -1) + 1
            pod = self.mesh.spare(i, spent)
            if pod.name not in names:
                break
        node = pod.node
        if avoid and node == avoid:
            node = f"node-{(int(avoid.removeprefix('node-')) + 1) % self.mesh.nodes}"
        return pod._replace(version=version or pod.version, node=node)
