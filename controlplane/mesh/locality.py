"""Who is near to whom: the endpoints of a cluster in the order, and by the weights, that a place gives.

What a policy prefers is a `Preference`; where the caller stands is a `Place`.  Together they arrange
endpoints into groups, each of one locality and priority.  Envoy uses a priority when too few endpoints of
those before it are healthy; priorities have no gaps.  Pure: `controlplane.mesh.locality_preference` reads
the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from math import ceil, lcm
from typing import NamedTuple, TypeAlias

from controlplane.mesh.endpoint import NOWHERE, Endpoint
from controlplane.model.keys import Labels
from controlplane.model.kinds.locality_setting import Distribute, Failover
from controlplane.model.kinds.service import NETWORK
from controlplane.model.locality import Locality, parse_locality

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
NODE = "kubernetes.io/hostname"
"""Labels that, with NETWORK, every workload has, whatever its object says: they are made from its place."""

_DISTANCES = 5
"""How many there are between localities."""
_FINEST = 10_000
"""How far shares of a locality's weight are scaled up to become whole numbers."""


class Preference(NamedTuple):
    """What of the caller's place counts for the endpoints of a cluster.

    `distribute`: shares by the caller's locality.  Else, if `ranked`, priorities: by `labels` (label or
    label=value, the first one that differs decides), by locality if there are none or `failover` names
    regions, or both, labels before.  `zones`: zones of the caller's region are one priority, between which
    Envoy itself prefers the near one, if there are `smallest` endpoints.  `on_node`: only endpoints of the
    caller's machine.  `networks`: some endpoints are reached through the doors of their network, unless the
    caller is in it.
    """

    distribute: tuple[Distribute, ...] = ()
    ranked: bool = False
    failover: tuple[Failover, ...] = ()
    labels: tuple[str, ...] = ()
    zones: bool = False
    on_node: bool = False
    networks: bool = False
    smallest: int | None = None

    @property
    def weighted(self) -> bool:
        """Whether Envoy chooses a locality by weight before it chooses an endpoint there."""
        return bool(self.distribute) or (
            self.ranked and bool(self.failover or self.labels) and not self.zones
        )


class Place(NamedTuple):
    """Where a caller stands, as far as anybody asks.

    `node` is its machine and `labels` are those of its labels that some policy compares; both are left empty
    where no policy does, so that callers of one zone and network share one place.
    """

    locality: Locality = NOWHERE
    network: str = ""
    node: str = ""
    labels: Labels = ()

    def label(self, name: str) -> str:
        """The caller's value of a label, "" for none."""
        return _label(name, self)


ANYWHERE = Place()


class Group(NamedTuple):
    """Endpoints of one locality and priority (0 first), and what they weigh together."""

    locality: Locality
    priority: int
    weight: int
    endpoints: tuple[Endpoint, ...]


_TOPOLOGY: dict[str, Callable[[Place | Endpoint], str]] = {
    REGION: lambda it: it.locality.region,
    ZONE: lambda it: it.locality.zone,
    SUBZONE: lambda it: it.locality.sub_zone,
    NETWORK: lambda it: it.network,
    NODE: lambda it: it.node,
}

Rank: TypeAlias = Callable[[Endpoint], int]


def arrange(
    found: Iterable[Endpoint], preference: Preference | None = None, place: Place = ANYWHERE
) -> tuple[Group, ...]:
    """The endpoints by priority and locality, in the order in which they are given; all of them if nothing is
    preferred."""
    if preference is None:
        return tuple(_groups(found, _alike))
    if preference.on_node:
        found = (endpoint for endpoint in found if place.node and endpoint.node == place.node)
    if preference.distribute:
        return tuple(_distributed(tuple(_groups(found, _alike)), preference.distribute, place.locality))
    return tuple(_groups(found, _rank(preference, place) if preference.ranked else _alike))


def standing(preference: Preference, place: Place) -> Place:
    """What of a place the arrangement depends on: callers that differ in other ways share its result."""
    by_locality = bool(preference.distribute or _by_locality(preference))
    asked = [split_label(said)[0] for said in preference.labels if split_label(said)[1] is None]
    if preference.distribute or not preference.ranked:
        asked = []
    return Place(
        locality=place.locality if by_locality or {REGION, ZONE, SUBZONE} & set(asked) else NOWHERE,
        network=place.network if preference.networks or NETWORK in asked else "",
        node=place.node if preference.on_node or NODE in asked else "",
        labels=tuple((name, value) for name, value in place.labels if name in asked),
    )


def split_label(said: str) -> tuple[str, str | None]:
    """An entry of failoverPriority: the label, and the value that it must have if not the caller's."""
    name, separator, value = said.partition("=")
    return name.strip(), value.strip() if separator else None


def matches(place: Locality, pattern: str) -> bool:
    """Whether a locality is meant by region[/zone[/subzone]], of which each part may be "*"."""
    said = parse_locality(pattern)
    if said.region not in ("*", place.region):
        return False
    return said.zone in ("*", "", place.zone) and said.sub_zone in ("*", "", place.sub_zone)


def _groups(found: Iterable[Endpoint], rank: Rank) -> Iterator[Group]:
    by_place: dict[tuple[int, Locality], list[Endpoint]] = {}
    for endpoint in found:
        by_place.setdefault((rank(endpoint), endpoint.locality), []).append(endpoint)
    priorities = {number: n for n, number in enumerate(sorted({number for number, _ in by_place}))}
    for (number, locality), members in sorted(by_place.items(), key=lambda item: item[0]):
        yield Group(locality, priorities[number], sum(e.weight for e in members), tuple(members))


def _alike(endpoint: Endpoint) -> int:
    return 0


def _rank(preference: Preference, place: Place) -> Rank:
    by_label = map(split_label, preference.labels)
    wanted = [(name, place.label(name) if said is None else said) for name, said in by_label]
    by_locality = _by_locality(preference)

    def rank(endpoint: Endpoint) -> int:
        differs = (n for n, (name, value) in enumerate(wanted) if label_of(endpoint, name) != value)
        labels = len(wanted) - next(differs, len(wanted))
        distance = _distance(endpoint.locality, place.locality, preference) if by_locality else 0
        return labels * _DISTANCES + distance

    return rank


def _by_locality(preference: Preference) -> bool:
    return preference.ranked and bool(preference.failover or not preference.labels)


def _distance(there: Locality, here: Locality, preference: Preference) -> int:
    """0 the same subzone, 1 zone, 2 region, 3 another region, 4 one that is not the one to fail over to."""
    if there.region == here.region:
        if preference.zones:
            return 0
        return 2 if there.zone != here.zone else 1 if there.sub_zone != here.sub_zone else 0
    heir = next((one.to for one in preference.failover if one.from_ == here.region), there.region)
    return 3 if there.region == heir else 4


def _distributed(groups: tuple[Group, ...], rules: tuple[Distribute, ...], here: Locality) -> Iterator[Group]:
    """The groups that traffic from here goes to, by the weights of the first rule for it; all if none is."""
    shares = next((rule.to for rule in rules if matches(here, rule.from_)), None)
    if shares is None:
        yield from groups
        return
    claimed: dict[str, list[Group]] = {}
    for group in groups:
        # No two of them overlap.
        pattern = next((pattern for pattern, _ in shares if matches(group.locality, pattern)), None)
        if pattern is not None:
            claimed.setdefault(pattern, []).append(group)
    weights = {
        group.locality: Fraction(group.weight * share, sum(one.weight for one in claimed[pattern]))
        for pattern, share in shares
        for group in claimed.get(pattern, ())
    }
    scale = min(_FINEST, lcm(*(weight.denominator for weight in weights.values())))
    for group in groups:
        if group.locality in weights:
            yield group._replace(weight=ceil(weights[group.locality] * scale))


def label_of(endpoint: Endpoint, name: str) -> str:
    """An endpoint's value of a label, "" for none."""
    return _label(name, endpoint)


def _label(name: str, it: Place | Endpoint) -> str:
    made = _TOPOLOGY.get(name)
    return dict(it.labels).get(name, "") if made is None else made(it)
