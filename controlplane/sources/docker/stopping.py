"""Whether a container is on its way out: between the signal that asks it to stop and its end.

Docker's own state says "running" until a container is dead.  The signal is the only sign before, and a good
one: while the container still finishes its requests, its endpoint is told to be leaving, and no new ones
come. Not every signal means that: HUP asks many programs to read their files again.  And some programs go
on after a TERM that nobody follows up: the sign holds for as long as Docker would wait, and a while longer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.sources.docker.shape import mapping, text

# Linux's numbers, which are the containers', wherever this program runs.
# fmt: off
_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
# fmt: on
_NUMBERS = {name: number for number, name in enumerate(_NAMES, 1)}
_REAL_TIME = {"RTMIN": 34, "RTMAX": 64}

ALWAYS = frozenset(_NUMBERS[name] for name in ("INT", "QUIT", "KILL", "TERM"))
"""Signals that end a program that does not know better, and are sent for that."""

GRACE = 10.0
"""Seconds between the signal and KILL, where nobody says otherwise: Docker's."""

MARGIN = 20.0
"""Seconds after that until a container that still runs counts as one that goes on."""


_LONGEST = 24 * 3600
"""Seconds of grace that are believed."""
_NUMBER = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class StopRule:
    """Which signals stop a container, and for how many seconds after one it counts as stopping."""

    signals: frozenset[int] = ALWAYS
    patience: float = GRACE + MARGIN

    def ends(self, signal: str) -> bool:
        """Whether a kill event with this signal says that the container stops.

        One without a signal does not: Podman never says which it was.
        """
        return signal_number(signal) in self.signals


DEFAULT = StopRule()
"""Of a container that nothing is known of."""

FIELDS = ("State.StartedAt", "Config.StopSignal", "Config.StopTimeout")
"""What is read of GET /containers/ID/json, beside `container.FIELDS`."""


def stop_rule(inspected: Mapping[str, Any]) -> StopRule:
    """The rule of a container, as /containers/ID/json has it."""
    config = mapping(inspected.get("Config"))
    own = signal_number(text(config.get("StopSignal")))
    grace = config.get("StopTimeout")
    seconds = float(min(grace, _LONGEST)) if isinstance(grace, int) and grace >= 0 else GRACE
    return StopRule(ALWAYS | {own} if own else ALWAYS, max(seconds, GRACE) + MARGIN)


def signal_number(signal: str) -> int:
    """The number of a signal as Docker's users write it ("15", "TERM", "SIGRTMIN+3"); 0 for none."""
    name = signal.strip().upper().removeprefix("SIG")
    if _NUMBER.fullmatch(name):
        return int(name)
    for base, number in _REAL_TIME.items():
        if name.startswith(base):
            offset = name.removeprefix(base).lstrip("+-")
            return number + (int(offset) if _NUMBER.fullmatch(offset) else 0) * (1 if base == "RTMIN" else -1)
    return _NUMBERS.get(name, 0)


def started(inspected: Mapping[str, Any]) -> float:
    """When the container was last started, Unix seconds of Docker's clock; long ago for never."""
    try:
        return datetime.fromisoformat(text(mapping(inspected.get("State")).get("StartedAt"))).timestamp()
    except (ValueError, OverflowError):
        return float("-inf")
