"""How a keyed map stores what its children return: one value per key, a flat union, or groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from controlplane.base.errors import GraphError
from controlplane.graph.keyed import KeyedMap, Part
from controlplane.graph.node import Failure
from controlplane.graph.plan import Form

if TYPE_CHECKING:
    from controlplane.graph.engine import Graph


class Shape:
    """One value per member; also the base of the other shapes."""

    __slots__ = ("out",)

    def __init__(self) -> None:
        self.out: dict[Any, Any] = {}

    def recast(self, owner: KeyedMap, form: Form) -> None:
        """Give a map that has not been planned before the store for its form."""
        store = _SHAPES[form]
        if type(self) is store:
            return
        if owner.plan is not None:
            raise GraphError(f"{owner.describe()} changes its form to {form.value}: a map keeps its form")
        owner.shape = store()

    def get(self, key: Any) -> Any:
        return self.out.get(key)

    def failed(self, key: Any) -> Failure | None:
        """The failure of the member that gives, or last gave, this key."""
        value = self.out.get(key)
        return value if isinstance(value, Failure) else None

    def __contains__(self, key: object) -> bool:
        return key in self.out

    def __iter__(self) -> Iterator[Any]:
        return iter(self.out)

    def __len__(self) -> int:
        return len(self.out)

    def part(self, owner: KeyedMap, key: Any) -> Part:
        raise GraphError(f"{owner.describe()} has no parts: it is not made with group()")

    def forget(self, key: Any) -> None:
        """Drop an empty group that nobody watches any more."""

    def clear(self) -> None:
        self.out.clear()

    def put(self, owner: KeyedMap, graph: Graph, member: Any, value: Any) -> None:
        """Store what a member's child returned; None takes the member out."""
        self._set(owner, member, value)

    def _set(self, owner: KeyedMap, key: Any, value: Any) -> None:
        old = self.out.get(key)
        # Identity suffices: an equal result keeps the old object.
        if old is value:
            return
        if value is None:
            del self.out[key]
        elif old is not None and old == value:
            return
        else:
            self.out[key] = value
        owner.patch(key, (old is None) != (value is None))


class Flat(Shape):
    """The union of the children's pairs; contended keys go to the smallest member."""

    __slots__ = ("claims", "failures", "given")

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[Any, dict[Any, Any]] = {}
        self.claims: dict[Any, dict[Any, Any]] = {}
        self.failures: dict[Any, tuple[Failure, dict[Any, Any]]] = {}

    def failed(self, key: Any) -> Failure | None:
        for failure, given in self.failures.values():
            if key in given:
                return failure
        return None

    def put(self, owner: KeyedMap, graph: Graph, member: Any, value: Any) -> None:
        old = self.given.get(member, {})
        if value.__class__ is Failure:
            # Which keys a failed member would give cannot be known, so it gives none; what it gave
            # before is remembered for those who hold last-good values, and never read by queries.
            new: dict[Any, Any] = {}
            self.failures[member] = (value, self.failures.get(member, (value, old))[1] | old)
        else:
            new = dict(value or ())
            self.failures.pop(member, None)
        for key in old.keys() - new.keys():
            self._withdraw(owner, member, key)
        for key, item in new.items():
            self._claim(owner, member, key, item)
        if new:
            self.given[member] = new
        else:
            self.given.pop(member, None)

    def _claim(self, owner: KeyedMap, member: Any, key: Any, item: Any) -> None:
        claims = self.claims.get(key)
        if claims is None:
            self.claims[key] = {member: item}
            self._set(owner, key, item)
            return
        claims[member] = item
        self._set(owner, key, claims[min(claims)] if len(claims) > 1 else item)

    def _withdraw(self, owner: KeyedMap, member: Any, key: Any) -> None:
        claims = self.claims[key]
        del claims[member]
        if claims:
            self._set(owner, key, claims[min(claims)])
        else:
            del self.claims[key]
            self._set(owner, key, None)

    def clear(self) -> None:
        super().clear()
        self.given.clear()
        self.claims.clear()
        self.failures.clear()


class Groups(Shape):
    """A `Part` per outkey.  Parts exist while they hold items or somebody watches them."""

    __slots__ = ("given", "watched")

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[Any, tuple[Any, ...]] = {}
        # Empty parts that are watched: a group that does not exist is a dependency too.
        self.watched: dict[Any, Part] = {}

    def part(self, owner: KeyedMap, key: Any) -> Part:
        part: Part | None = self.out.get(key) or self.watched.get(key)
        if part is None:
            part = self.watched[key] = Part(owner, key)
        return part

    def forget(self, key: Any) -> None:
        self.watched.pop(key, None)

    def put(self, owner: KeyedMap, graph: Graph, member: Any, value: Any) -> None:
        old = self.given.get(member, ())
        # A group has no place for a failure: the member gives nothing until it is mended.
        new = () if value.__class__ is Failure else tuple(dict.fromkeys(value or ()))
        if old == new:
            return
        for key, item in new:
            if (key, item) not in old:
                self._count(owner, graph, key, item, 1)
        for key, item in old:
            if (key, item) not in new:
                self._count(owner, graph, key, item, -1)
        if new:
            self.given[member] = new
        else:
            self.given.pop(member, None)

    def _count(self, owner: KeyedMap, graph: Graph, key: Any, item: Any, by: int) -> None:
        part = self.part(owner, key)
        empty = not part.counts
        part.count(graph, item, by)
        if empty:
            self.watched.pop(key, None)
            self.out[key] = part
            owner.patch(key, True)
        elif not part.counts:
            del self.out[key]
            owner.patch(key, True)
            if part.rdeps:
                self.watched[key] = part
        else:
            owner.patch(key, False)

    def clear(self) -> None:
        super().clear()
        self.given.clear()
        self.watched.clear()


_SHAPES: dict[Form, type[Shape]] = {Form.EACH: Shape, Form.FLAT: Flat, Form.GROUP: Groups}
