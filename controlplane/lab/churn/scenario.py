"""What a workload is before it has a size, a seed and a length: a builder with options of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.lab.churn.mesh import Dialect, Mesh
from controlplane.lab.churn.plan import Plan
from controlplane.lab.churn.workload import Workload


class WorkloadError(MiniIstiodError):
    """A workload that cannot be made; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload by name.  `mesh` is its size unless the caller brings another one.

    `build` fills a plan; its keyword arguments are the scenario's options.
    """

    name: str
    description: str
    mesh: Mesh
    build: Callable[..., None]

    def __call__(
        self, mesh: Mesh | None = None, seed: int = 0, seconds: float = 60.0, **options: Any
    ) -> Workload:
        """The schedule; raises WorkloadError for options it does not know or cannot use."""
        for name in sorted(set(options) - set(self.options())):
            known = ", ".join(sorted(self.options())) or "none"
            raise WorkloadError(f"{self.name} has no option {name!r}; it has: {known}")
        plan = Plan(mesh or self.mesh, seed, seconds)
        self.build(plan, **options)
        events = plan.events()
        initial = tuple(plan.mesh.objects() if plan.initial is None else plan.initial)
        storms = tuple(storm for storm in plan.storms if storm.at < seconds)
        return Workload(self.name, seed, plan.mesh, initial, events, storms, seconds, self.description)

    def in_dialect(self, dialect: Dialect) -> Mesh:
        """Its own mesh, told otherwise."""
        return replace(self.mesh, dialect=dialect)

    def options(self) -> dict[str, Any]:
        """Names and defaults of its options."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]
        return {one.name: one.default for one in parameters}

    def parse(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Options as a command line gives them: numbers where the defaults are numbers."""
        defaults = self.options()
        read: dict[str, Any] = {}
        for name, text in sorted(texts.items()):
            # The call refuses those that it does not have.
            kind = type(defaults.get(name, text))
            try:
                read[name] = kind(text)
            except ValueError as error:
                raise WorkloadError(f"{self.name}: option {name}={text}: {error}") from None
        return read
