"""The one stream that all sources emit: an object has this content now, or is gone.

A change names the object and the place it was read from.  The same object may stand in several
places (two files); each place is told apart by `origin.file`, so that the store can let one of them
win and the next one take over when the first goes away.  Within one file a source sorts this out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.model.keys import Key
from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Origin, Problem
from controlplane.sources.naming import Name


@dataclass(frozen=True, slots=True)
class Change:
    """One object at one place, as its source has it now.

    `raw` is the object as plain dicts, lists and scalars, None when it is gone from that place; it
    is shared and must not be modified.  `group` is the API group, "" for the core ("v1") group, None
    for that of the kind of this name that the mesh reads.
    `id` grows with every change of a process.  `at` is the time of the source's event (not of our
    noticing it, where the source can tell) in seconds of the monotonic clock: the push trace starts there.
    """

    kind: str
    key: Key
    raw: Mapping[str, Any] | None
    origin: Origin | None
    id: int
    at: float
    group: str | None = None

    @property
    def name(self) -> Name:
        """The object's name across kinds."""
        group = self.group
        if group is None:
            group = BY_NAME[self.kind].group if self.kind in BY_NAME else ""
        return Name(group, self.kind, self.key)

    @property
    def place(self) -> str:
        """What tells two copies of one object apart; "" when the source has no files."""
        return self.origin.file if self.origin else ""


class Sink(Protocol):
    """Where sources deliver.  A source awaits each call, so a slow sink slows its sources, not the loop."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Take changes that belong together: nobody sees some of them without the others."""
        ...

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        """Replace the problems of one place; none clears it.  `where` starts with the source's name."""
        ...

    def synced(self, source: str) -> None:
        """This source has delivered everything that was there when it began."""
        ...


class Source(Protocol):
    """Something that follows an origin until it is cancelled."""

    @property
    def name(self) -> str:
        """Unique among the sources of one process."""
        ...

    async def run(self, sink: Sink) -> None:
        """Deliver what is there, then `synced`, then every change.  Returns by cancellation only."""
        ...
