"""From bytes to the pieces that stand or fall alone: the documents of a YAML stream.

The stream is cut here and not by the YAML parser, which gives up a whole stream at the first error.
A line that begins with `---` ends the document before it wherever it stands: no scalar may contain
one (https://yaml.org/spec/1.1/#id898031), so the cut is exact.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from controlplane.base.errors import MiniIstiodError

_MARKER = re.compile(r"^(---|\.\.\.)(?=[ \t\r]|$)")
_PREAMBLE = re.compile(r"^(%.*|[ \t]*(#.*)?)\r?$")


class MalformedError(MiniIstiodError):
    """A text that has no value; `line` counts from 1 within that text, None where lines mean nothing.

    `context` is what the parser was in the middle of, and the line on which that begins.
    Raised and caught within this package: what leaves it is a Problem.
    """

    def __init__(
        self, line: int | None, message: str, remedy: str, context: tuple[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.remedy = remedy
        self.context = context


class Piece(NamedTuple):
    """One document: its text, and the line of the file on which that text begins (from 1)."""

    line: int
    text: str


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, with or without a byte order mark.

    Raises MalformedError with the line of the first byte that is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MalformedError(line, f"not UTF-8 text: {error.reason}", "save it as UTF-8") from error


def pieces(text: str) -> list[Piece]:
    """The documents of a YAML stream, in order; each keeps its own `---` line and directives.

    A piece may be empty (only comments).
    """
    found: list[Piece] = []
    lines = text.split("\n")
    start = 0
    for number, line in enumerate(lines):
        marker = _MARKER.match(line)
        if marker is None:
            continue
        if marker[1] == "...":
            found.append(_piece(lines, start, number))
            start = number + 1
        elif not all(_PREAMBLE.match(before) for before in lines[start:number]):
            found.append(_piece(lines, start, number))
            start = number
    found.append(_piece(lines, start, len(lines)))
    return found


def _piece(lines: list[str], start: int, end: int) -> Piece:
    return Piece(start + 1, "\n".join(lines[start:end]))
