"""Whether the watched directory itself is there; its absence says nothing about its files.

While it is gone everything is kept.  When another directory appears in its place (it was mounted
again, or moved back, or the link to it was turned), that one counts, with two reservations: an empty
one is more likely a bare mount point than a wish, and files return one by one.
"""

from __future__ import annotations

from pathlib import Path

from controlplane.sources.directory.reading import Trouble
from controlplane.sources.directory.tree import identity


class Presence:
    """The directory as of the last `check`.

    `trouble` says why it cannot be used, None when it can.  `hollow` is true from the moment another
    directory took its place until a file is seen in it.
    """

    def __init__(self, root: Path, grace: float) -> None:
        self.trouble: Trouble | None = None
        self.hollow = False
        self._root = root
        self._grace = grace
        self._identity: tuple[int, int] | None = None
        self._ended = False
        self._grace_until = float("-inf")

    def end(self) -> None:
        """The directory of the last check is known to be gone, whatever stands in its place now."""
        self._ended = True

    def check(self, now: float) -> bool:
        """Look at the directory itself; true when it is another one than last time, the first time too.

        `now` is monotonic seconds.
        """
        found = identity(self._root)
        if isinstance(found, str):
            remedy = "bring it back; until then everything that was read from it stays in use"
            self.trouble = Trouble(found, remedy)
            return False
        changed = found != self._identity or self._ended
        returned = self._identity is not None and (self.trouble is not None or changed)
        another = returned or self._identity is None
        self.trouble = None
        self._ended = False
        self._identity = found
        if returned:
            self.hollow = True
            self._grace_until = now + self._grace
        return another

    def filled(self, now: float, *, moving: bool) -> None:
        """A file is there; `moving` = files are still appearing or changing, so the grace begins anew."""
        self.hollow = False
        if moving and now < self._grace_until:
            self._grace_until = now + self._grace

    def losses_count_from(self) -> float:
        """When a missing file may be taken for deleted; monotonic seconds, infinity = not yet known."""
        return float("inf") if self.hollow else self._grace_until
