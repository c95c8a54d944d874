"""Reading the push traces that the control plane publishes at /debug/traces.

A trace follows one change of one object from the moment its source saw it to the last proxy's ACK.
The stages are times since that moment.  What a person wants to know is how long each took, and the
clock of a person starts earlier: when the file was saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.base.errors import MiniIstiodError

Target = tuple[str, str, str]
"""Kind, namespace and name of an object."""

# Where time is spent, by the stage that ends it.
_SPENT = {
    "source": "watch",
    "debounce_in": "notice",
    "commit": "debounce",
    "compute": "compute",
    "plan": "plan",
    "write": "write",
    "ack": "ack",
}


class TraceError(MiniIstiodError):
    """What /debug/traces answered cannot be understood; the message shows it."""


@dataclass(frozen=True, slots=True)
class Push:
    """One change on its way.

    `stages` are the stages reached and when, in seconds since the file was written, in order.
    `complete` says that every proxy it touches has answered; of those, `acked` accepted it.
    """

    id: int
    target: Target
    stages: tuple[tuple[str, float], ...]
    touched: int
    acked: int
    complete: bool

    @property
    def seconds(self) -> float:
        """From the write to the last stage that was reached."""
        return self.stages[-1][1] if self.stages else 0.0

    def durations(self) -> tuple[tuple[str, float], ...]:
        """How long each stage took, in seconds, under the name of what was done meanwhile."""
        pairs = zip((("written", 0.0), *self.stages), self.stages, strict=False)
        return tuple((_SPENT[name], at - before) for (_, before), (name, at) in pairs)


def parse(traces: Any, written: float) -> tuple[Push, ...]:
    """The pushes of a /debug/traces answer, timed from `written` (seconds since the Unix epoch).

    TraceError when the answer's shape is not the one that we know.
    """
    try:
        return tuple(_push(trace, written) for trace in traces)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TraceError(
            f"unexpected push trace ({type(error).__name__}: {error}): {traces!r:.300}"
        ) from error


def newest(pushes: Iterable[Push], after: int) -> Mapping[Target, Push]:
    """The last push of each object among those with an id greater than `after`."""
    return {push.target: push for push in sorted(pushes, key=lambda push: push.id) if push.id > after}


def wrong(pushes: Iterable[Push]) -> tuple[str, ...]:
    """What is wrong with pushes that are complete, a sentence each."""
    found = []
    for push in pushes:
        name = "/".join(push.target)
        if push.touched == 0:
            found.append(f"{name}: no proxy was told of the change")
        elif push.acked < push.touched:
            found.append(f"{name}: only {push.acked} of {push.touched} proxies accepted the change")
    return tuple(found)


def _push(trace: Mapping[str, Any], written: float) -> Push:
    times, proxies = trace["stages"], trace["proxies"]
    # Two clocks of one machine: never negative, or the user saved the file after it was seen.
    seen = max(0.0, float(trace["at"]) - written)
    reached = ((name, times.get(name)) for name in _SPENT)
    return Push(
        id=int(trace["id"]),
        target=(trace["kind"], trace["namespace"], trace["name"]),
        stages=tuple((name, seen + float(at)) for name, at in reached if at is not None),
        touched=int(proxies["touched"]),
        acked=int(proxies["acked"]),
        complete=bool(trace["complete"]),
    )
