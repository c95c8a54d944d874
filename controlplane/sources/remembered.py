"""What a source remembers over a restart: one JSON file, which may be lost without harm."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Remembered:
    """`file` None = nothing is kept; `what` is what the log calls it."""

    def __init__(self, file: Path | None, what: str) -> None:
        self._file = file
        self._what = what

    def read(self, parse: Callable[[Any], _T]) -> _T | None:
        """What `parse` makes of the content; None where there is none that it can use, which is logged."""
        if self._file is None:
            return None
        try:
            return parse(json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            said = {"file": str(self._file), "reason": str(error)}
            _log.warning("%s cannot be read, and begin anew", self._what, extra=said)
            return None

    def write(self, content: object) -> None:
        """Put this in its place; a disk that is full costs a line in the log, not what is remembered."""
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(content, indent=1))
            new.replace(self._file)
        except OSError as error:
            _log.warning("%s could not be kept", self._what, extra={"reason": error.strerror})
