"""Logs: one line per event, for people or as JSON, and never the same warning all day.

Code logs with the standard library, a fixed sentence and the facts as fields:

    log.warning("a proxy rejected a response", extra={"proxy": proxy, "type": "cds"})

The sentence stays the same so that it can be searched for and counted; the fields hold what differs.
Field values may come from a peer, so they are escaped: a newline in a node id makes no second line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from controlplane.base.parse import LOG_FORMATS, LOG_LEVELS

_OURS = "controlplane"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure(level: str = "info", form: str = "text", stream: TextIO | None = None) -> logging.Handler:
    """Send all logs to `stream` (standard error) and return the handler.

    `level` is one of `LOG_LEVELS`, `form` of `LOG_FORMATS`.  The level holds for this package; what
    libraries log is shown from warnings on.  Called again, it replaces what it set before.
    """
    if level not in LOG_LEVELS or form not in LOG_FORMATS:
        raise ValueError(f"level {level!r} of {LOG_LEVELS}, form {form!r} of {LOG_FORMATS}")
    target = stream or sys.stderr
    handler = _Handler(target)
    handler.setFormatter(JsonLines() if form == "json" else Lines(terminal=target.isatty()))
    handler.addFilter(Sparingly())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level.upper())
    return handler


class _Handler(logging.StreamHandler[TextIO]):
    """A type of its own, so that `configure` finds what it added before."""


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as `extra`, in the order it was given."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class Lines(logging.Formatter):
    """`12:00:00.123 WARNING xds.stream: a sentence proxy=a.default type=cds`, tracebacks below.

    On a terminal the level has a colour and the time is local; elsewhere the time is UTC with its date.
    """

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if not self._terminal:
            at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        else:
            at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        if self._terminal and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        where = record.name.removeprefix(f"{_OURS}.")
        message = _printable(record.getMessage())
        # A whole object is for machines: the sentence says it already.
        facts = "".join(
            f" {name}={_quoted(value)}"
            for name, value in fields(record).items()
            if not isinstance(value, Mapping)
        )
        return f"{at} {level} {where}: {message}{facts}{self._traceback(record)}"

    def _traceback(self, record: logging.LogRecord) -> str:
        return "\n" + self.formatException(record.exc_info) if record.exc_info else ""


class JsonLines(logging.Formatter):
    """One JSON object per line: time (UTC), level, scope, message, the fields, traceback if any.

    A field that is called like one of those gets an underscore appended.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "scope": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        for name, value in fields(record).items():
            line[f"{name}_" if name in line else name] = value
        return json.dumps(line, default=str)


def _quoted(value: Any) -> str:
    text = _shown(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, value))
    return str(value)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Sparingly(logging.Filter):
    """Let a repeated warning or error through `burst` times per `interval` seconds.

    What counts as the same is the place and the sentence, not the fields.  The next one let through
    carries `suppressed`, the number held back before it.  Records with a traceback always pass: they
    are bugs.  At most `_PLACES` places are remembered.
    """

    _PLACES = 1000

    def __init__(
        self, burst: int = 20, interval: float = 60.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst = burst
        self._interval = interval
        self._now = now
        # place -> [start of its interval, passed in it, held back since the last that passed]
        self._seen: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        place = (record.name, record.levelno, str(record.msg))
        now = self._now()
        state = self._seen.setdefault(place, [now, 0, 0])
        self._seen.move_to_end(place)
        if len(self._seen) > self._PLACES:
            self._seen.popitem(last=False)
        if now - state[0] >= self._interval:
            state[0], state[1] = now, 0
        if state[1] >= self._burst:
            state[2] += 1
            return False
        state[1] += 1
        if state[2]:
            record.suppressed = int(state[2])
            state[2] = 0
        return True
