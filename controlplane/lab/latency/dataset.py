"""The tables of a run folder: CSV files with one header line, read back with their types.

Every time is in seconds of one monotonic clock (CLOCK_MONOTONIC), which all processes of a machine share.
What is not known is an empty cell.  A cell that cannot be read is an error that names file, line and column.
"""

from __future__ import annotations

import csv
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from controlplane.base.errors import MiniIstiodError

Numbers = tuple[int, ...]
T = TypeVar("T", bound=tuple[Any, ...])


class DatasetError(MiniIstiodError):
    """A file of a run folder is missing or cannot be understood; the message names the place."""


class Change(NamedTuple):
    """changes.csv: one edit; `at` is just before the rename that publishes it, `scheduled` since start.

    `stamped` is the time of change that the file system gave the file, in seconds after `at`: negative where
    its clock lags behind, empty for deletions.
    """

    number: int
    kind: str
    namespace: str
    name: str
    action: str
    scheduled: float
    at: float
    stamped: float | None = None

    @property
    def object(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name


class Receipt(NamedTuple):
    """receipts.csv: one response that a proxy received.

    `markers` are the change numbers in it that this proxy had not seen before; `answered` is when the answer
    was handed to the socket.
    """

    proxy: str
    type: str
    at: float
    bytes: int
    resources: int
    removed: int
    markers: Numbers
    answered: float | None


class Sample(NamedTuple):
    """samples.csv: how one process is doing.

    `cpu` and `waiting` (runnable, without a core; all threads) are seconds since its start, `rss` bytes;
    `lag` and `gc` are the longest of the interval that ends at `at`, in seconds, empty where nobody
    measures them.
    """

    at: float
    process: str
    cpu: float
    rss: int
    waiting: float
    lag: float | None
    gc: float | None


class Turn(NamedTuple):
    """turns.csv: a turn of a fleet process's loop that took more than 1 ms; receipts may be noted so late."""

    process: int
    at: float
    seconds: float


class Latency(NamedTuple):
    """latency.csv: what became of one change at one proxy; times are seconds since the change's `at`.

    `status` is one of `STATUSES`; `note` holds words of `NOTES`, separated by spaces.
    """

    number: int
    proxy: str
    touched: bool
    source: float | None = None
    debounce_in: float | None = None
    commit: float | None = None
    compute: float | None = None
    plan: float | None = None
    write: float | None = None
    ack: float | None = None
    outside: float | None = None
    agree: float | None = None
    error: float | None = None
    status: str = "untouched"
    note: str = ""
    type: str = ""
    revision: int | None = None
    answered: float | None = None
    complete: float | None = None

    def has(self, word: str) -> bool:
        """Whether `note` has this word."""
        return word in self.note.split()


STATUSES = {
    "acked": "the proxy accepted the response that carries the change",
    "received": "the proxy has the change; whether the server took in its answer is not known",
    "nacked": "the proxy rejected it",
    "unanswered": "the response was sent, and the log has no answer to it",
    "untouched": "the change does not concern the proxy: it was not woken, or needed nothing",
    "pending": "the proxy was woken, and the log ends before a response",
    "gone": "the proxy was connected when the change was made, and left before it had it",
    "absent": "the proxy was not connected when the change was made",
    "unseen": "nothing tells whether the change concerns the proxy: no number in it, and no server's log",
}
NOTES = {
    "coalesced": "replaced by a later change of the same object before it was sent; ends with that one",
    "superseded": "coalesced before the server looked: its source event is the later change's",
    "reconnected": "it came over a stream that was opened after the change",
    "replaced": "its response was replaced unanswered; the ACK is the newer one's",
    "unattributed": "the server's log has no event for the change",
    "unmatched": "the log has no response for the receipt",
    "early": "the response was planned at an older revision than the change's",
}


def write(path: Path, of: type[T], rows: Iterable[T]) -> None:
    """Write rows of one type; the header is their fields."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(_fields(of))
        out.writerows([_text(cell) for cell in row] for row in rows)


def read(path: Path, of: type[T]) -> list[T]:
    """All rows; columns stand in any order, others are left out.  DatasetError names the place."""
    return list(_rows(path, of))


def _rows(path: Path, of: type[T]) -> Iterator[T]:
    readers = _readers(of)
    defaults = getattr(of, "_field_defaults", {})
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            head = next(lines, [])
            missing = [name for name in readers if name not in head and name not in defaults]
            if missing:
                raise DatasetError(f"{path}:1: there is no column {missing[0]!r}")
            columns = [(name, head.index(name), readers[name]) for name in readers if name in head]
            for cells in lines:
                if len(cells) != len(head):
                    raise DatasetError(f"{path}:{lines.line_num}: {len(cells)} cells, not {len(head)}")
                yield of(
                    **{
                        name: _cell(path, lines.line_num, name, reader, cells[at])
                        for name, at, reader in columns
                    }
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def _cell(path: Path, line: int, name: str, reader: Callable[[str], Any], text: str) -> Any:
    try:
        return reader(text)
    except ValueError as error:
        raise DatasetError(f"{path}:{line}: column {name!r}: {text!r} is not {error}") from error


def _text(cell: object) -> object:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, float):
        # Nanoseconds: finer than any clock here, and half as long as all digits.
        return f"{cell:.9f}"
    if isinstance(cell, tuple):
        return ";".join(map(str, cell))
    return cell


def _fields(of: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = of._fields
    return names


def _readers(of: Any) -> dict[str, Callable[[str], Any]]:
    hints = get_type_hints(of)
    return {name: _reader(hints[name]) for name in _fields(of)}


def _reader(hint: Any) -> Callable[[str], Any]:
    if get_origin(hint) in (types.UnionType, Union):
        inner = _reader(next(one for one in get_args(hint) if one is not type(None)))
        return lambda text: inner(text) if text else None
    return _READERS[hint]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _bool(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _numbers(text: str) -> Numbers:
    try:
        return tuple(int(one) for one in text.split(";")) if text else ()
    except ValueError:
        raise ValueError("whole numbers with ; between") from None


_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    float: _float,
    int: _int,
    bool: _bool,
    Numbers: _numbers,
}
