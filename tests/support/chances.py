"""Whether a count is one that chance would give: the binomial distribution, exactly."""

from __future__ import annotations

from math import exp, lgamma, log

RARE = 1e-9
"""How often a test with such a bound fails though nothing is wrong: less than once in a lifetime of runs."""


def likely(count: int, draws: int, share: float, rare: float = RARE) -> bool:
    """Whether neither so few nor so many hits are rarer than `rare`, at `share` (0 to 1) in `draws` draws."""
    if not 0 < share < 1:
        return count == draws * share
    few = sum(_chance(hits, draws, share) for hits in range(count + 1))
    many = sum(_chance(hits, draws, share) for hits in range(count, draws + 1))
    return min(few, many) >= rare


def _chance(hits: int, draws: int, share: float) -> float:
    # By logarithms: the numbers of ways have hundreds of digits.
    ways = lgamma(draws + 1) - lgamma(hits + 1) - lgamma(draws - hits + 1)
    return exp(ways + hits * log(share) + (draws - hits) * log(1 - share))
