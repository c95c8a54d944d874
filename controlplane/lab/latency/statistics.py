"""Distributions, intervals over repeats, ratios of pairs: what is said about many measurements of one thing.

The unit of uncertainty is the repeat: the proxies of one change and the changes of one run share a machine
and a moment, so resampling them would promise more than was measured.  An interval needs two repeats.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence

Summary = dict[str, float]
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
ROUNDS = 2000
_LEVEL = 0.95


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the sorted values lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(values: Iterable[float], scale: float = 1.0) -> Summary:
    """Count, least, median, tails and most; `scale` multiplies (1000 makes milliseconds of seconds)."""
    ordered = sorted(value * scale for value in values)
    if not ordered:
        return {"n": 0}
    found = {name: quantile(ordered, share) for name, share in SHARES.items()}
    return {"n": len(ordered), "min": ordered[0], **found, "max": ordered[-1]}


def distribution(values: Iterable[float], scale: float = 1.0) -> Summary:
    """As `summary`, with the mean."""
    known = list(values)
    found = summary(known, scale)
    return {**found, "mean": math.fsum(known) * scale / len(known)} if known else found


def median(values: Iterable[float]) -> float:
    """The upper median."""
    return quantile(sorted(values), 0.5)


def thinned(values: Iterable[float], points: int = 400) -> list[float]:
    """A sorted sample that draws the same curve."""
    ordered = sorted(values)
    if len(ordered) <= points:
        return ordered
    step = (len(ordered) - 1) / (points - 1)
    return [ordered[round(n * step)] for n in range(points)]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def interval(
    repeats: Sequence[float],
    figure: Callable[[Sequence[float]], float] = mean,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of a figure over repeats; None for fewer than two.

    `repeats` has one number per repeat, such as its p90.  Equal arguments give equal results.
    """
    if len(repeats) < 2:
        return None
    chance = random.Random(seed)
    size = len(repeats)
    drawn = sorted(figure(chance.choices(repeats, k=size)) for _ in range(rounds))
    tail = (1 - _LEVEL) / 2
    return quantile(drawn, tail), quantile(drawn, 1 - tail)


def ratio(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> dict[str, object]:
    """Our figure through theirs, pair by pair (repeat n of both ran next to each other).

    Gives the geometric mean, its interval (None for one pair), and every pair's ratio.  ValueError when there
    are no pairs, or when one of the figures is not positive.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} figures cannot be paired with {len(theirs)}")
    if min(*ours, *theirs) <= 0:
        raise ValueError("a ratio needs positive figures")
    pairs = [one / other for one, other in zip(ours, theirs, strict=True)]
    logs = [math.log(one) for one in pairs]
    ends = interval(logs, seed=seed)
    return {
        "ratio": math.exp(mean(logs)),
        "ci95": None if ends is None else [math.exp(end) for end in ends],
        "pairs": pairs,
    }
