"""Which endpoints come first by where they stand, as users say it: in DestinationRules and the MeshConfig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.model.checks import repeated
from controlplane.model.describe import shorten
from controlplane.model.reader import UINT32, Reader

_PLACES = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


@dataclass(frozen=True, slots=True)
class Distribute:
    """Where traffic from a locality goes: (locality, weight) pairs, sorted; the weights sum to 100."""

    from_: str
    to: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Failover:
    """The region that takes over."""

    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class LocalityLoadBalancerSetting:
    """Locality preference; `enabled` None = inherit."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ZoneAwareLoadBalancerSetting:
    """Zone-aware preference; `min_cluster_size` None = Envoy's default (6)."""

    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None
    min_cluster_size: int | None = None


def read_locality(r: Reader) -> LocalityLoadBalancerSetting:
    """LocalityLoadBalancerSetting; distribute excludes the two kinds of failover."""
    setting = LocalityLoadBalancerSetting(
        distribute=r.messages("distribute", _read_distribute),
        failover=r.messages("failover", _read_failover),
        failover_priority=r.strings("failoverPriority"),
        enabled=r.optional_boolean("enabled"),
    )
    for other in ("failover", "failoverPriority"):
        if setting.distribute and r.has(other):
            r.error(other, "excludes distribute", "keep one of them")
    _check_priority(r, setting.failover, setting.failover_priority)
    _check_overlaps(r, "distribute", [one.from_ for one in setting.distribute], last_may_be_any=True)
    for index, source in repeated(distribute.from_ for distribute in setting.distribute):
        r.error(f"distribute[{index}].from", f"{shorten(source)} is given twice", "merge the two entries")
    return setting


def read_zone_aware(r: Reader) -> ZoneAwareLoadBalancerSetting:
    """ZoneAwareLoadBalancerSetting."""
    setting = ZoneAwareLoadBalancerSetting(
        failover=r.messages("failover", _read_failover),
        failover_priority=r.strings("failoverPriority"),
        enabled=r.optional_boolean("enabled"),
        min_cluster_size=r.count("minClusterSize", UINT32),
    )
    _check_priority(r, setting.failover, setting.failover_priority)
    return setting


def _check_priority(r: Reader, failover: Sequence[Failover], priority: Sequence[str]) -> None:
    """Regions come in the order of `failover`, or in that of labels of places, not of both."""
    for index, label in enumerate(priority if failover else ()):
        if label in _PLACES:
            r.error(f"failoverPriority[{index}]", f"{label} excludes failover", "keep one of them")


def _read_distribute(r: Reader) -> Distribute:
    distribute = Distribute(from_=r.required("from", "name a locality"), to=r.integers_by_name("to", 1, 100))
    for at, locality in (("from", distribute.from_), *(("to", locality) for locality, _ in distribute.to)):
        _check_locality(r, at, locality)
    _check_overlaps(r, "to", [locality for locality, _ in distribute.to])
    total = sum(weight for _, weight in distribute.to)
    if total != 100:
        r.error("to", f"the weights add up to {total}", "make them add up to 100")
    return distribute


def _check_locality(r: Reader, at: str, locality: str) -> None:
    parts = locality.split("/")
    if locality and (len(parts) > 3 or "" in parts):
        r.error(at, f"{shorten(locality)} is no locality", "write region, region/zone or region/zone/subzone")
    elif any("*" in part for part in parts[:-1]) or ("*" in parts[-1] and parts[-1] != "*"):
        r.error(at, f'{shorten(locality)} has a "*" that is not its last part', 'write like "region/*"')


def _check_overlaps(r: Reader, at: str, localities: Sequence[str], *, last_may_be_any: bool = False) -> None:
    """No locality is meant by two of a list; "*" may come after all others where order counts."""
    for index, locality in enumerate(localities):
        for earlier in localities[:index]:
            rest = last_may_be_any and locality == "*"
            if locality != earlier and not rest and _overlap(locality, earlier):
                r.error(at, f"{shorten(locality)} overlaps {shorten(earlier)}", "name each locality once")


def _overlap(one: str, other: str) -> bool:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return all("*" in pair or pair[0] == pair[1] for pair in pairs)


def _read_failover(r: Reader) -> Failover:
    failover = Failover(from_=r.required("from", "name a region"), to=r.required("to", "name a region"))
    if failover.from_ and failover.from_ == failover.to:
        r.error("to", "is the region that fails", "name another region")
    for name, region in (("from", failover.from_), ("to", failover.to)):
        if "/" in region:
            r.error(name, f"{shorten(region)} is more than a region", "name the region alone")
    if "*" in failover.from_ or "*" in failover.to:
        r.error("from", "cannot be a wildcard", "name one region")
    return failover
