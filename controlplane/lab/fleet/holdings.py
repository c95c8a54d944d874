"""What proxies have: immutable, and shared by all proxies that went the same way.

A step from one holding to the next, with what a proxy then asks for, is remembered while somebody stands
where it leads, and a while longer, for those who come after.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import ReferenceType, WeakKeyDictionary, WeakValueDictionary, ref

from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.fleet.frames import Held
from controlplane.lab.fleet.requests import NONE, Names, Variant, names
from controlplane.lab.fleet.responses import Content

FOLLOWS = {CLUSTER: ENDPOINT, LISTENER: ROUTE}
"""Which type names which."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Follow:
    """What is asked for after a response: names of another type."""

    url: str
    wanted: Names
    more: Names
    fewer: Names
    fresh: bool
    """A cluster that uses them has changed: Envoy waits for its endpoints again."""


class Holding:
    """What proxies have of one type, and which names of the next type follow from it.

    `asked` are the names that are asked for; nothing else is taken, but of types that have no names.
    """

    __slots__ = ("__weakref__", "_known", "_steps", "asked", "resources", "wanted")

    def __init__(self, resources: Mapping[str, Held] = {}, wanted: Names = NONE, asked: Names = NONE) -> None:
        self.resources = resources
        self.wanted = wanted
        self.asked = asked
        self._known: bytes | None = None
        self._steps: WeakKeyDictionary[Content | Follow, tuple[ReferenceType[Holding], Follow | None]]
        self._steps = WeakKeyDictionary()

    def known(self, variant: Variant) -> bytes:
        """What there is, as fields of a first request."""
        if self._known is None:
            every = self.resources.items()
            self._known = variant.known({name: one.version for name, one in every if one.version is not None})
        return self._known

    def after(self, content: Content) -> tuple[Holding, Follow | None]:
        """The holding after this response, and what must be asked for then."""
        step = self._steps.get(content)
        there = step[0]() if step is not None else None
        if step is None or there is None:
            there, follow = self._step(content)
            self._steps[content] = (ref(there), follow)
        else:
            follow = step[1]
        _remember(there)
        return there, follow

    def asking(self, follow: Follow) -> Holding:
        """The holding of somebody who asks for other names: what nobody asks for is gone."""
        if follow.wanted is self.asked:
            return self
        step = self._steps.get(follow)
        there = step[0]() if step is not None else None
        if there is None:
            gone = follow.fewer.all
            left = {name: held for name, held in self.resources.items() if name not in gone}
            there = Holding(left, asked=follow.wanted)
            self._steps[follow] = (ref(there), None)
        _remember(there)
        return there

    def _step(self, content: Content) -> tuple[Holding, Follow | None]:
        before = self.resources
        if content.url not in FOLLOWS:
            asked = self.asked.all
            lost = {name: before[name]._replace(version=None) for name in content.removed if name in before}
            found = {name: held for name, held in content.found.items() if name in asked}
            return Holding({**before, **lost, **found}, asked=self.asked), None
        after = dict(content.found) if content.complete else {**before, **content.found}
        for name in content.removed:
            after.pop(name, None)
        wanted = self.wanted
        if self._refers_anew(content, after):
            wanted = names(frozenset(one for held in after.values() for one in held.resource.refs))
        more, fewer = wanted.all - self.wanted.all, self.wanted.all - wanted.all
        fresh = content.url == CLUSTER and any(
            held.resource.refs and name in before and _differ(before[name], held)
            for name, held in content.found.items()
        )
        holding = Holding(after, wanted)
        if not more and not fewer and not fresh:
            return holding, None
        return holding, Follow(FOLLOWS[content.url], wanted, names(more), names(fewer), fresh)

    def _refers_anew(self, content: Content, after: Mapping[str, Held]) -> bool:
        """Whether names that follow may have come or gone: a look at a thousand refs costs more."""
        before = self.resources
        if not before.keys() <= after.keys():
            return True
        for name, held in content.found.items():
            old = before.get(name)
            if old is not held and held.resource.refs != (() if old is None else old.resource.refs):
                return True
        return False


def _differ(one: Held, other: Held) -> bool:
    return one.resource is not other.resource and one.resource.hash != other.resource.hash


NOTHING = Holding()
_recent: OrderedDict[Holding, None] = OrderedDict()
REMEMBERED = 1024
"""How many holdings outlast the last proxy that had them: where others are about to pass."""


def _remember(holding: Holding) -> None:
    _recent[holding] = None
    _recent.move_to_end(holding)
    if len(_recent) > REMEMBERED:
        _recent.popitem(last=False)


class Seen:
    """The change numbers that proxies have seen; shared as holdings are."""

    __slots__ = ("__weakref__", "_steps", "numbers")

    def __init__(self, numbers: frozenset[int] = frozenset()) -> None:
        self.numbers = numbers
        self._steps: WeakKeyDictionary[Content, tuple[tuple[int, ...], ReferenceType[Seen]]]
        self._steps = WeakKeyDictionary()

    def after(self, content: Content) -> tuple[tuple[int, ...], Seen]:
        """The numbers in this response that are new, and all that have been seen then."""
        if not content.markers:
            return (), self
        step = self._steps.get(content)
        if step is not None and (there := step[1]()) is not None:
            return step[0], there
        new = content.markers - self.numbers
        there = _seen(self.numbers | new) if new else self
        numbers = tuple(sorted(new))
        self._steps[content] = (numbers, ref(there))
        return numbers, there


UNSEEN = Seen()
_every_seen: WeakValueDictionary[frozenset[int], Seen] = WeakValueDictionary()


def _seen(numbers: frozenset[int]) -> Seen:
    """The one object for these numbers."""
    found = _every_seen.get(numbers)
    if found is None:
        found = _every_seen[numbers] = Seen(numbers)
    return found
