"""How proxies misbehave: late answers, refusals and deafness, the same at every run of a seed.

Nothing is drawn from a common source of chance.  What a proxy does with its nth response of a type
follows from the seed, its name, the type and n alone, so it is the same in one process or in four, and
whatever the other proxies do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds: always `fixed`, and beyond that exponentially distributed with mean `mean`."""

    fixed: float = 0.0
    mean: float = 0.0

    def at(self, share: float) -> float:
        """The delay below which this share (0 to 1) of all delays lies."""
        return self.fixed - (self.mean * math.log1p(-share) if self.mean else 0.0)


@dataclass(frozen=True, slots=True)
class Nack:
    """Which responses are refused: a share of those of some types, and all with a resource of some name."""

    share: float = 0.0
    types: tuple[str, ...] = ()
    """ "cds", "eds", "lds", "rds"; empty for all."""
    names: tuple[str, ...] = ()
    """Shell patterns of resource names."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A share of the proxies reads nothing for `seconds`, beginning `every` seconds after they connected."""

    share: float
    seconds: float
    every: float


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What proxies do besides following.  `ack_delay` is in seconds, the same always or distributed."""

    ack_delay: float | Delay = 0.0
    nack: Nack | None = None
    stall: Stall | None = None
    seed: int = 0

    @property
    def prompt(self) -> bool:
        """Whether every response is accepted at once."""
        return not self.ack_delay and self.nack is None

    def delay(self, proxy: str, kind: str, n: int) -> float:
        """How long the proxy takes to answer its nth response of a type, seconds."""
        if not isinstance(self.ack_delay, Delay):
            return self.ack_delay
        return self.ack_delay.at(draw(self.seed, "delay", proxy, kind, n))

    def verdict(self, proxy: str, kind: str, n: int, found: Iterable[str]) -> str | None:
        """Why the proxy refuses its nth response of a type, which holds these names; None accepts."""
        nack = self.nack
        if nack is None or (nack.types and kind not in nack.types):
            return None
        for pattern in nack.names:
            for name in sorted(found):
                if fnmatchcase(name, pattern):
                    return f"{name}: refused by the fleet"
        if nack.share and draw(self.seed, "nack", proxy, kind, n) < nack.share:
            return "refused by the fleet"
        return None

    def stalls(self, proxy: str) -> Stall | None:
        """The stall of this proxy, if it is one of those that stall."""
        stall = self.stall
        return stall if stall is not None and draw(self.seed, "stall", proxy) < stall.share else None


def draw(seed: int, *what: str | int) -> float:
    """A number from 0 to 1, evenly distributed, that depends on nothing but the arguments."""
    text = "\0".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / 2**56


def chosen(every: Sequence[str], fraction: float, seed: int, purpose: str) -> list[str]:
    """A share of the names, rounded; the same seed and purpose choose the same."""
    ranked = sorted(every, key=lambda name: draw(seed, purpose, name))
    return ranked[: round(fraction * len(ranked))]
