"""What Docker tells as it happens, reduced to what changes a mesh.

An event says where to look and since when; what is there is found out by looking.  Four kinds are believed at
once, because they are bad news, and because Docker answers questions about a container that dies only when
it has tidied up (40 ms): `kill`, `die`, `pause` and a health status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from controlplane.sources.docker.shape import mapping

_CONTAINER = frozenset(
    ("create", "start", "restart", "kill", "die", "stop", "destroy", "rename", "update", "pause", "unpause")
)
ATTACHING = frozenset(("connect", "disconnect"))
# Podman's words for the same.
_ALSO = {"died": "die", "remove": "destroy"}
_HEALTH = "health_status"
_NEVER = 1e11
"""Unix seconds after which no event is: some 3000 years from now."""

FILTERS = json.dumps(
    {
        "type": ["container", "network"],
        "event": sorted((*_CONTAINER, *ATTACHING, *_ALSO, _HEALTH)),
    },
    separators=(",", ":"),
)
"""What is asked for: without the three events that every health check makes."""


class Event(NamedTuple):
    """One event of one container.

    `action` is Docker's word, for a health status "health_status"; `detail` is then the status ("healthy"),
    and for a kill the signal as Docker writes it.  `at` is Unix seconds of Docker's clock.
    """

    container: str
    action: str
    detail: str
    at: float


def read_event(raw: Mapping[str, Any]) -> Event | None:
    """The event, None for what says nothing to a mesh or cannot be understood."""
    actor = raw.get("Actor")
    action = raw.get("Action")
    if not isinstance(actor, Mapping) or not isinstance(action, str):
        return None
    found = mapping(actor.get("Attributes"))
    word, _, status = action.partition(": ")
    word = _ALSO.get(word, word)
    at = _moment(raw)
    if raw.get("Type") == "network":
        container = found.get("container")
        known = word in ATTACHING and isinstance(container, str) and container
        return Event(str(container), word, "", at) if known else None
    container = actor.get("ID")
    if raw.get("Type") != "container" or not isinstance(container, str) or not container:
        return None
    if word == _HEALTH:
        return Event(container, _HEALTH, status or str(found.get(_HEALTH, "")), at)
    if word not in _CONTAINER:
        return None
    return Event(container, word, str(found.get("signal", "")) if word == "kill" else "", at)


def _moment(raw: Mapping[str, Any]) -> float:
    nanoseconds = raw.get("timeNano")
    if isinstance(nanoseconds, int) and 0 < nanoseconds < _NEVER * 1e9:
        return nanoseconds / 1e9
    seconds = raw.get("time")
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds < _NEVER else 0.0
