"""The stages of a change of root, as values: which root signs, and which are trusted.

    idle   one root, which signs
    trust  both roots are trusted, the old one signs
    sign   both roots are trusted, the new one signs
    drop   the new root alone is trusted; the old key is gone
    idle   again

Each stage is compatible with the one before and the one after it, so proxies may be in either while
they follow; a stage may be left when all of them are in it.  That makes every stage a place to stop at,
to crash in and to go on from.  Both roots are sent as they are: a cross-signed certificate would help
only those who cannot be told of a new root, and everybody here can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from controlplane.ca.signer import Signer

Stage = Literal["idle", "trust", "sign", "drop"]
STAGES: tuple[Stage, ...] = ("idle", "trust", "sign", "drop")

_WITH_NEXT = ("trust", "sign")


@dataclass(frozen=True, slots=True)
class Roots:
    """What is kept: the stage, since when (Unix seconds), and the signers that it needs.

    `next` is there in the stages trust and sign and nowhere else.
    """

    stage: Stage
    since: float
    current: Signer
    next: Signer | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES or (self.next is not None) != (self.stage in _WITH_NEXT):
            raise ValueError(f"the stage {self.stage} does not go with what is kept")

    @property
    def signer(self) -> Signer:
        """Who signs in this stage."""
        return self.next if self.stage == "sign" and self.next is not None else self.current

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The roots that are trusted in this stage, oldest first."""
        return (self.current.root,) if self.next is None else (self.current.root, self.next.root)


def begun(roots: Roots, fresh: Signer, now: float) -> Roots:
    """The first stage on the way from `idle` to the root of `fresh`."""
    if roots.stage != "idle":
        raise ValueError(f"a rotation is under way: its stage is {roots.stage}")
    return Roots("trust", now, roots.current, fresh)


def advanced(roots: Roots, now: float) -> Roots:
    """The next stage; `idle` stays as it is."""
    if roots.stage == "trust":
        return Roots("sign", now, roots.current, roots.next)
    if roots.stage == "sign" and roots.next is not None:
        return Roots("drop", now, roots.next)
    if roots.stage == "drop":
        return Roots("idle", now, roots.current)
    return roots


def abandoned(roots: Roots, now: float) -> Roots:
    """Back to `idle` with the old root: possible as long as nothing is signed with the new one."""
    if roots.stage != "trust":
        raise ValueError(
            "there is no rotation to abandon"
            if roots.stage == "idle"
            else f"the new root signs already (stage {roots.stage}): the way is forward"
        )
    return Roots("idle", now, roots.current)
