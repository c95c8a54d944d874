"""Which change of the server's log is which change of the schedule.

Both name the object.  Among the changes of one object the moment decides: the server gives a file's change
time, the schedule the moment before the rename.  Where the server saw only the last of several, the earlier
ones are accounted for by it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.lab.latency.dataset import Change, Receipt
from controlplane.lab.latency.pushlog import PushLog, Seen

TICK = 0.011
"""A file's change time may be stamped with the kernel's last timer tick: at most 10 ms early."""

Object = tuple[str, str, str]


class Objects:
    """The changes of a run by object, in the order in which they were made."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = sorted(changes, key=lambda change: (change.at, change.number))
        self._of: dict[Object, list[Change]] = {}
        self._place: dict[int, tuple[Object, int]] = {}
        for change in self.changes:
            mine = self._of.setdefault(change.object, [])
            self._place[change.number] = change.object, len(mine)
            mine.append(change)

    def place(self, number: int) -> tuple[Object, int] | None:
        """The object that this number changed, and how many changes of it came before; None when unknown."""
        return self._place.get(number)

    def following(self, change: Change) -> Change | None:
        """The next change of the same object."""
        of, position = self._place[change.number]
        mine = self._of[of]
        return mine[position + 1] if position + 1 < len(mine) else None

    def seen(self, log: PushLog, tick: float = TICK) -> dict[int, Seen]:
        """By number, the server's event that accounts for it; numbers without one are missing.

        Two numbers have the same event where the server saw the later one only.
        """
        own = self._own(log, tick)
        found: dict[int, Seen] = {}
        for mine in self._of.values():
            later: Seen | None = None
            for change in reversed(mine):
                later = own.get(change.number, later)
                if later is not None:
                    found[change.number] = later
        return found

    def _own(self, log: PushLog, tick: float) -> dict[int, Seen]:
        own: dict[int, Seen] = {}
        events = (one for batch in log.batches for one in batch.changes if one.object in self._of)
        for event in sorted(events, key=lambda one: one.at):
            number = _nearest(self._of[event.object], event.at, tick)
            if number is not None:
                own.setdefault(number, event)
        return own


def _nearest(mine: Sequence[Change], at: float, tick: float) -> int | None:
    """The change that this event tells of; None when it is of before the run."""
    last = bisect_right(mine, at + tick, key=lambda change: change.at) - 1
    if last < 0:
        return None
    if last and mine[last].at > at and at - mine[last - 1].at < mine[last].at - at:
        last -= 1
    return mine[last].number


@dataclass(slots=True)
class _Stairs:
    """What one proxy saw of one object: receipts that showed a later state than any before them."""

    positions: list[int]
    receipts: list[int]


class Markers:
    """Who received which state of which object, read off the numbers in the bytes."""

    def __init__(self, objects: Objects, receipts: Sequence[Receipt]) -> None:
        self._stairs: dict[tuple[str, Object], _Stairs] = {}
        self._newest: dict[Object, int] = {}
        self._objects = objects
        for index, receipt in sorted(enumerate(receipts), key=lambda one: one[1].at):
            for number in receipt.markers:
                if (place := objects.place(number)) is not None:
                    self._note(receipt.proxy, place[0], place[1], index)

    def _note(self, proxy: str, of: Object, position: int, index: int) -> None:
        self._newest[of] = max(position, self._newest.get(of, -1))
        stairs = self._stairs.setdefault((proxy, of), _Stairs([], []))
        if not stairs.positions or position > stairs.positions[-1]:
            stairs.positions.append(position)
            stairs.receipts.append(index)

    def first(self, proxy: str, change: Change) -> tuple[int, bool] | None:
        """The first receipt by which the proxy has the change, and whether it shows a later one instead.

        None where it never got it, and for deletions, which leave no number.
        """
        place = self._objects.place(change.number)
        if place is None or change.action == "delete":
            return None
        stairs = self._stairs.get((proxy, place[0]))
        if stairs is None:
            return None
        at = bisect_left(stairs.positions, place[1])
        if at == len(stairs.positions):
            return None
        return stairs.receipts[at], stairs.positions[at] > place[1]

    def shows(self, change: Change) -> bool:
        """Whether anybody received this change or a later one of its object: then its bytes tell of it."""
        place = self._objects.place(change.number)
        return place is not None and change.action != "delete" and self._newest.get(place[0], -1) >= place[1]
