"""How a keyed map stores what its children return: one value per key, a flat union, or groups.

A shape remembers what it was like when the map was last published, so that what comes and goes in
between, or returns to its old value, is no change.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError
from controlplane.graph.failure import Failure
from controlplane.graph.node import Form

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph
    from controlplane.graph.map import KeyedMap

Pairs = tuple[tuple[Any, Any], ...]

_NOBODY = object()


class Shape:
    """One value per member; also the base of the other shapes."""

    __slots__ = ("before", "out")

    grouped = False

    def __init__(self) -> None:
        self.out: dict[Any, Any] = {}
        # Patched keys -> the value when the map was last published.
        self.before: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """The value under a key, None when absent."""
        return self.out.get(key)

    def failed(self, key: Any) -> Failure | None:
        """The failure of the member that gives, or last gave, this key."""
        value = self.out.get(key)
        return value if isinstance(value, Failure) else None

    def givers(self, key: Any) -> Collection[Any]:
        """The members whose children give the value under a key."""
        return (key,) if key in self.out else ()

    def put(self, owner: KeyedMap, member: Any, value: Any) -> None:
        """Store what a member's child returned; None takes the member out."""
        self._set(member, value)

    def _set(self, key: Any, value: Any) -> None:
        out = self.out
        old = out.get(key)
        # An equal result keeps the old object, so identity tells nearly all that has not changed.
        if old is value:
            return
        if value is None:
            del out[key]
        else:
            out[key] = value
        self.before.setdefault(key, old)

    def publish(self, owner: KeyedMap, graph: Graph) -> dict[Any, bool]:
        """The keys whose values differ from the last time -> whether they appeared or went."""
        before, self.before = self.before, {}
        out = self.out
        changed: dict[Any, bool] = {}
        for key, old in before.items():
            now = out.get(key)
            if now is old:
                continue
            if old is None or now is None:
                changed[key] = True
            elif now == old:
                out[key] = old
            else:
                changed[key] = False
        return changed

    def clear(self) -> None:
        """Forget everything."""
        self.out.clear()
        self.before.clear()


class Flat(Shape):
    """The union of the children's pairs; contended keys go to the smallest member."""

    __slots__ = ("_failures", "_given", "_rivals", "_winner")

    def __init__(self) -> None:
        super().__init__()
        # Member -> the pairs it gives, as its child returned them.
        self._given: dict[Any, Pairs] = {}
        self._winner: dict[Any, Any] = {}
        # Only for keys that more than one member claims: key -> member -> item.
        self._rivals: dict[Any, dict[Any, Any]] = {}
        self._failures: dict[Any, tuple[Failure, frozenset[Any]]] = {}

    def failed(self, key: Any) -> Failure | None:
        return next((failure for failure, given in self._failures.values() if key in given), None)

    def givers(self, key: Any) -> Collection[Any]:
        if key in self._winner:
            return (self._winner[key],)
        return [member for member, (_, given) in self._failures.items() if key in given]

    def put(self, owner: KeyedMap, member: Any, value: Any) -> None:
        last = self._given.get(member, ())
        if value.__class__ is not Failure:
            try:
                self._replace(member, _pairs(value))
            except (TypeError, ValueError) as error:
                value = _unusable(owner, member, error)
            else:
                self._failures.pop(member, None)
                return
        # Which keys a failed member would give cannot be known, so it gives none; what it gave
        # before is remembered for those who hold last-good values, and never read by queries.
        self._failures[member] = _failed(value, last, self._failures.get(member))
        self._replace(member, ())

    def _replace(self, member: Any, pairs: Pairs) -> None:
        new = {key: item for key, item in pairs if item is not None}
        for key, _ in self._given.pop(member, ()):
            if key not in new:
                self._withdraw(member, key)
        if new:
            self._given[member] = pairs
        for key, item in new.items():
            self._claim(member, key, item)

    def _claim(self, member: Any, key: Any, item: Any) -> None:
        rivals = self._rivals.get(key)
        if rivals is None:
            winner = self._winner.setdefault(key, member)
            if winner == member:
                self._set(key, item)
                return
            rivals = self._rivals[key] = {winner: self.out[key]}
        rivals[member] = item
        self._decide(key, rivals)

    def _withdraw(self, member: Any, key: Any) -> None:
        rivals = self._rivals.get(key)
        if rivals is not None:
            if rivals.pop(member, None) is not None:
                self._decide(key, rivals)
            if len(rivals) == 1:
                del self._rivals[key]
        elif self._winner.get(key, _NOBODY) == member:
            del self._winner[key]
            self._set(key, None)

    def _decide(self, key: Any, rivals: dict[Any, Any]) -> None:
        winner = self._winner[key] = min(rivals)
        self._set(key, rivals[winner])

    def clear(self) -> None:
        super().clear()
        self._given.clear()
        self._winner.clear()
        self._rivals.clear()
        self._failures.clear()


class Groups(Shape):
    """A `Part` per outkey.  Parts exist while they hold items or somebody watches them."""

    __slots__ = ("_failures", "_given")

    grouped = True

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[Any, Pairs] = {}
        self._failures: dict[Any, tuple[Failure, frozenset[Any]]] = {}

    def failed(self, key: Any) -> Failure | None:
        return next((failure for failure, given in self._failures.values() if key in given), None)

    def givers(self, key: Any) -> Collection[Any]:
        return [member for member, pairs in self._given.items() if any(out == key for out, _ in pairs)]

    def put(self, owner: KeyedMap, member: Any, value: Any) -> None:
        old = self._given.get(member, ())
        new: Pairs = ()
        items: dict[Any, None] = {}
        if value.__class__ is not Failure:
            try:
                new = _pairs(value)
                items = dict.fromkeys(new)
            except (TypeError, ValueError) as error:
                value, new = _unusable(owner, member, error), ()
        if value.__class__ is Failure:
            # A group has no place for a failure: the member gives nothing until it is mended.
            self._failures[member] = _failed(value, old, self._failures.get(member))
        else:
            self._failures.pop(member, None)
        if new == old:
            return
        self._replace(owner, dict.fromkeys(old), items)
        if new:
            self._given[member] = new
        else:
            del self._given[member]

    def _replace(self, owner: KeyedMap, old: dict[Any, None], new: dict[Any, None]) -> None:
        for key, item in new:
            if (key, item) not in old:
                self._count(owner, key, item, 1)
        for key, item in old:
            if (key, item) not in new:
                self._count(owner, key, item, -1)

    def _count(self, owner: KeyedMap, key: Any, item: Any, by: int) -> None:
        part = owner.part(key)
        present = bool(part.counts)
        self.before.setdefault(key, present)
        part.count(item, by)
        if not present:
            self.out[key] = part
        elif not part.counts:
            del self.out[key]

    def publish(self, owner: KeyedMap, graph: Graph) -> dict[Any, bool]:
        before, self.before = self.before, {}
        changed: dict[Any, bool] = {}
        for key, present in before.items():
            part = owner.parts.get(key)
            moved = part is not None and part.publish(graph)
            if present != (key in self.out):
                changed[key] = True
            elif moved:
                changed[key] = False
            if part is not None and not part.counts and not part.needed():
                del owner.parts[key]
        return changed

    def clear(self) -> None:
        super().clear()
        self._given.clear()
        self._failures.clear()


def _pairs(value: Any) -> Pairs:
    """What a child of flat() or group() returned; raises TypeError or ValueError unless pairs."""
    if not value:
        return ()
    pairs: Pairs = value if value.__class__ is tuple else tuple(value)
    for key, _ in pairs:
        hash(key)
    return pairs


def _failed(
    failure: Failure, given: Pairs, before: tuple[Failure, frozenset[Any]] | None
) -> tuple[Failure, frozenset[Any]]:
    """What is remembered of a failed member: why, and the keys that it has given."""
    return failure, frozenset(key for key, _ in given) | (before[1] if before else frozenset())


def _unusable(owner: KeyedMap, member: Any, error: Exception) -> Failure:
    described = owner.children[member].describe()
    cause = GraphError(f"{described} does not give pairs (key, value) with keys to sort and hash: {error}")
    return Failure(described, cause)


SHAPES: dict[Form, type[Shape]] = {Form.EACH: Shape, Form.FLAT: Flat, Form.GROUP: Groups}
