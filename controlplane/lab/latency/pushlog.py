"""The server's own account of a run: what `discovery --push-log FILE` wrote, as typed events.

One JSON object per line, `e` is its kind.  Events of the same process may stand slightly out of order (a
response is written down when it is answered), so everything is sorted by its own time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.lab.latency.dataset import DatasetError


class Seen(NamedTuple):
    """One change as the server saw it: `at` is the source event, `received` when the debouncer got it."""

    kind: str
    namespace: str
    name: str
    at: float
    received: float
    revision: int

    @property
    def object(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name


class Batch(NamedTuple):
    """Changes that were committed as one revision."""

    revision: int
    opened: float
    committed: float
    changes: tuple[Seen, ...]


class Settled(NamedTuple):
    """The graph has the bytes of every revision up to this one."""

    revision: int
    at: float


class Wake(NamedTuple):
    """A stream was woken for a revision, or was found to need nothing of it (`touched` False)."""

    stream: str
    revision: int
    at: float
    touched: bool


class Response(NamedTuple):
    """A response from its plan to its answer; `answered` and `ok` are None where there was none."""

    stream: str
    type: str
    revision: int
    planned: float
    took: float
    written: float | None
    answered: float | None
    ok: bool | None
    bytes: int
    names: int
    echoes: int


class Link(NamedTuple):
    """A stream began (`up`) or ended."""

    stream: str
    at: float
    up: bool


class Pause(NamedTuple):
    """The process was away for `seconds` until `at`; `generation` of a collection, None for the loop."""

    at: float
    seconds: float
    generation: str | None


@dataclass(slots=True)
class PushLog:
    """All events of one server's life, each kind in order of time; `epoch` is wall minus monotonic clock."""

    epoch: float = 0.0
    started: float = 0.0
    version: str = ""
    batches: list[Batch] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    wakes: list[Wake] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)


def proxy_of(stream: str) -> str:
    """The node of a stream: its name without the number that the server gave it."""
    proxy, dash, number = stream.rpartition("-")
    return proxy if dash and number.isdigit() else stream


def read(path: Path) -> PushLog:
    """The whole log; DatasetError names the line that cannot be used.

    A last line without its end is left out: the server was killed while it wrote.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    whole = text[: text.rfind("\n") + 1]
    return parse(whole.splitlines(), str(path))


def parse(lines: Iterable[str], origin: str = "push log") -> PushLog:
    """The events in these lines."""
    log = PushLog()
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            event = json.loads(line)
            take = _TAKERS.get(event["e"])
            if take is None:
                raise DatasetError(f"{origin}:{number}: there is no event {event['e']!r}")
            take(log, event)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{origin}:{number}: is no JSON: {error.msg}") from error
        except KeyError as error:
            raise DatasetError(f"{origin}:{number}: there is no field {error.args[0]!r}") from error
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{origin}:{number}: {error}") from error
    log.batches.sort(key=lambda batch: batch.revision)
    log.settled.sort(key=lambda one: one.revision)
    log.wakes.sort(key=lambda wake: wake.at)
    log.responses.sort(key=lambda response: response.planned)
    log.links.sort(key=lambda link: link.at)
    log.pauses.sort(key=lambda pause: pause.at)
    return log


def _start(log: PushLog, event: dict[str, Any]) -> None:
    log.epoch, log.started = float(event["epoch"]), float(event["at"])
    log.version = str(event.get("version", ""))


def _batch(log: PushLog, event: dict[str, Any]) -> None:
    revision = int(event["revision"])
    changes = tuple(_seen(one, revision) for one in event["changes"])
    log.batches.append(Batch(revision, float(event["opened"]), float(event["committed"]), changes))


def _seen(one: dict[str, Any], revision: int) -> Seen:
    at, received = float(one["at"]), one["in"]
    # A source without a moment of its own (the first look at a directory) is in at once.
    inside = at if received is None else float(received)
    return Seen(str(one["kind"]), str(one["namespace"]), str(one["name"]), at, inside, revision)


def _settled(log: PushLog, event: dict[str, Any]) -> None:
    log.settled.append(Settled(int(event["revision"]), float(event["at"])))


def _wake(log: PushLog, event: dict[str, Any]) -> None:
    touched = event["e"] == "woken"
    log.wakes.append(Wake(str(event["proxy"]), int(event["revision"]), float(event["at"]), touched))


def _response(log: PushLog, event: dict[str, Any]) -> None:
    answered = _moment(event["answered"])
    log.responses.append(
        Response(
            stream=str(event["proxy"]),
            type=str(event["type"]),
            revision=int(event["revision"]),
            planned=float(event["planned"]),
            took=float(event["took"]),
            written=_moment(event["written"]),
            answered=answered,
            ok=None if answered is None else bool(event["ok"]),
            bytes=int(event["bytes"]),
            names=int(event["names"]),
            echoes=int(event["echoes"]),
        )
    )


def _moment(value: float | None) -> float | None:
    return None if value is None else float(value)


def _link(log: PushLog, event: dict[str, Any]) -> None:
    log.links.append(Link(str(event["proxy"]), float(event["at"]), event["e"] == "connected"))


def _pause(log: PushLog, event: dict[str, Any]) -> None:
    generation = str(event["generation"]) if event["e"] == "gc" else None
    log.pauses.append(Pause(float(event["at"]), float(event["seconds"]), generation))


_TAKERS: dict[str, Callable[[PushLog, dict[str, Any]], None]] = {
    "start": _start,
    "batch": _batch,
    "settled": _settled,
    "woken": _wake,
    "untouched": _wake,
    "response": _response,
    "connected": _link,
    "gone": _link,
    "lag": _pause,
    "gc": _pause,
}
