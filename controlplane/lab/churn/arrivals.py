"""When changes happen: at fixed intervals, at random, or at the times of a trace; and seeded chance.

Same seed, same times and same choices, on every machine and in every version: nothing is drawn but
`random()`, whose sequence the language guarantees, from generators seeded by text.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias, TypeVar

from controlplane.base.errors import MiniIstiodError

T = TypeVar("T")

Arrivals: TypeAlias = Callable[["Chance"], Iterator[float]]
"""Yields the times of changes in seconds since the start, ascending."""


class ArrivalsError(MiniIstiodError):
    """An arrival process that cannot be made."""


class Chance:
    """A seeded stream of choices; `purpose` keeps one question's answers apart from another's."""

    def __init__(self, seed: int, purpose: str) -> None:
        # Text is hashed with SHA-512, whatever PYTHONHASHSEED says.
        self._random = random.Random(f"{purpose}/{seed}")

    def number(self, below: int) -> int:
        """0 to below - 1."""
        return min(int(self._random.random() * below), below - 1)

    def one(self, of: Sequence[T]) -> T:
        return of[self.number(len(of))]

    def some(self, of: Sequence[T], count: int) -> list[T]:
        """`count` different ones in random order, all of them if there are fewer."""
        rest = list(of)
        return [rest.pop(self.number(len(rest))) for _ in range(min(count, len(rest)))]

    def wait(self, rate: float) -> float:
        """Seconds to the next event of a Poisson process with `rate` events a second."""
        return -math.log(1.0 - self._random.random()) / rate


def every(interval: float, first: float | None = None) -> Arrivals:
    """A change each `interval` seconds; the first one after one interval, or at `first`."""
    _positive("interval", interval)

    def times(_: Chance) -> Iterator[float]:
        start, n = interval if first is None else first, 0
        while True:
            # Multiplied, not summed: no drift.
            yield start + n * interval
            n += 1

    return times


def poisson(rate: float) -> Arrivals:
    """`rate` changes a second on average, independent of each other."""
    _positive("rate", rate)

    def times(chance: Chance) -> Iterator[float]:
        at = 0.0
        while True:
            at += chance.wait(rate)
            yield at

    return times


def traced(times: Iterable[float]) -> Arrivals:
    """Changes at these seconds since the start, as somebody recorded them."""
    ordered = sorted(times)
    if any(not math.isfinite(at) or at < 0 for at in ordered):
        raise ArrivalsError("a trace holds seconds since the start: numbers, 0 or greater")
    return lambda _: iter(ordered)


def trace(text: str) -> Arrivals:
    """A CSV's first column, or its column `at` if the first line names one."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    column = 0
    if rows and not _is_number(rows[0][0]):
        head = rows.pop(0)
        column = head.index("at") if "at" in head else 0
    try:
        times = [float(row[column]) for row in rows]
    except (IndexError, ValueError) as error:
        raise ArrivalsError(f"not a trace of times: {error}") from None
    return traced(times)


def parse(text: str) -> Arrivals:
    """What an option says.

    `every:5` is each 5 seconds, `every:5:1` the same with the first one after 1 second; `poisson:0.2`
    is 0.2 a second at random; `trace:FILE` are the times in a CSV.
    """
    kind, _, value = text.partition(":")
    if kind == "trace":
        try:
            return trace(Path(value).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ArrivalsError(f"the trace cannot be read: {error}") from None
    numbers = value.split(":")
    if not all(map(_is_number, numbers)) or len(numbers) > {"every": 2, "poisson": 1}.get(kind, 0):
        raise ArrivalsError(f"{text!r} is none of every:SECONDS[:FIRST], poisson:RATE, trace:FILE")
    return poisson(*map(float, numbers)) if kind == "poisson" else every(*map(float, numbers))


def until(seconds: float, arrivals: Arrivals | str, chance: Chance) -> list[float]:
    """The times before `seconds`, in whole microseconds."""
    process = parse(arrivals) if isinstance(arrivals, str) else arrivals
    # Rounded: the last bit of a logarithm is the C library's own.
    return [round(at, 6) for at in takewhile(lambda at: at < seconds, process(chance))]


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ArrivalsError(f"the {name} must be greater than 0, not {value}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
