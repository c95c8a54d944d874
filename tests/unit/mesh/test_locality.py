"""Who is near to whom: priorities without gaps, weights that add up, and callers that share a place."""

from __future__ import annotations

import pytest

from controlplane.mesh.endpoint import Endpoint
from controlplane.mesh.locality import NODE, ZONE, Place, Preference, arrange, matches, standing
from controlplane.model.kinds.locality_setting import (
    Distribute,
    Failover,
)
from controlplane.model.locality import parse_locality

HERE = Place(parse_locality("eu/a/1"), network="n1", node="m1", labels=(("app", "x"), ("shard", "blue")))


def at(place: str, name: str = "", *, weight: int = 1, node: str = "", **labels: str) -> Endpoint:
    return Endpoint(
        name or place or "nowhere",
        80,
        labels=tuple(sorted(labels.items())),
        locality=parse_locality(place),
        weight=weight,
        node=node,
    )


def priorities(preference: Preference, *found: Endpoint, place: Place = HERE) -> dict[str, int]:
    return {e.address: group.priority for group in arrange(found, preference, place) for e in group.endpoints}


def weights(preference: Preference, *found: Endpoint, place: Place = HERE) -> dict[str, int]:
    groups = arrange(found, preference, place)
    assert all(group.priority == 0 for group in groups)
    return {str(group.locality): group.weight for group in groups}


def test_without_a_preference_everybody_is_alike() -> None:
    groups = arrange([at("us/a", weight=3), at("eu/a/1"), at("eu/a/1", "other", weight=2)])
    assert [(str(g.locality), g.priority, g.weight) for g in groups] == [("eu/a/1", 0, 3), ("us/a", 0, 3)]


def test_distance() -> None:
    found = [at(p) for p in ("eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "")]
    assert priorities(Preference(ranked=True), *found) == {
        "eu/a/1": 0,
        "eu/a/2": 1,
        "eu/b/1": 2,
        "us/a/1": 3,
        "nowhere": 3,
    }


def test_priorities_have_no_gaps() -> None:
    assert priorities(Preference(ranked=True), at("eu/b"), at("us/a")) == {"eu/b": 0, "us/a": 1}
    assert priorities(Preference(ranked=True), at("us/a"), at("asia/a")) == {"us/a": 0, "asia/a": 0}


def test_the_region_that_takes_over() -> None:
    preference = Preference(ranked=True, failover=(Failover("us", "eu"), Failover("eu", "asia")))
    found = [at("eu/b"), at("us/a"), at("asia/a"), at("")]
    assert priorities(preference, *found) == {"eu/b": 0, "asia/a": 1, "us/a": 2, "nowhere": 2}


def test_by_labels_the_first_that_differs_decides() -> None:
    preference = Preference(ranked=True, labels=("shard", "tier=gold", ZONE))
    found = [
        at("eu/a", "all", shard="blue", tier="gold"),
        at("eu/b", "zone", shard="blue", tier="gold"),
        at("eu/a", "tier", shard="blue", tier="tin"),
        at("eu/a", "shard", shard="red", tier="gold"),
        at("eu/a", "none", tier="gold"),
    ]
    assert priorities(preference, *found) == {"all": 0, "zone": 1, "tier": 2, "shard": 3, "none": 3}


def test_labels_come_before_regions() -> None:
    preference = Preference(ranked=True, labels=("shard",), failover=(Failover("eu", "us"),))
    found = [
        at("eu/a/1", "near", shard="red"),
        at("us/a", "heir", shard="blue"),
        at("asia/a", "far", shard="blue"),
    ]
    assert priorities(preference, *found) == {"heir": 0, "far": 1, "near": 2}


def test_zones_of_a_region_are_one_priority_where_envoy_prefers_them_itself() -> None:
    preference = Preference(ranked=True, zones=True, failover=(Failover("eu", "us"),))
    found = [at("eu/a/1"), at("eu/b"), at("us/a"), at("asia/a")]
    assert priorities(preference, *found) == {"eu/a/1": 0, "eu/b": 0, "us/a": 1, "asia/a": 2}


def test_only_endpoints_of_the_callers_machine() -> None:
    found = [at("eu/a", "one", node="m1"), at("eu/a", "two", node="m2"), at("eu/a", "none")]
    assert priorities(Preference(on_node=True), *found) == {"one": 0}
    assert priorities(Preference(on_node=True), *found, place=Place()) == {}


def test_shares_by_the_callers_locality() -> None:
    preference = Preference(
        distribute=(
            Distribute("us", (("us", 100),)),
            Distribute("eu/a/*", (("eu/a", 70), ("eu/b", 20), ("us", 10))),
            Distribute("*", (("asia", 100),)),
        )
    )
    found = [at("eu/a", weight=3), at("eu/b"), at("eu/c"), at("us/a"), at("asia/a")]
    assert weights(preference, *found) == {"eu/a": 70, "eu/b": 20, "us/a": 10}
    assert weights(preference, *found, place=Place(parse_locality("us/x"))) == {"us/a": 100}
    assert weights(preference, *found, place=Place()) == {"asia/a": 100}


def test_shares_that_do_not_divide_keep_their_proportion() -> None:
    preference = Preference(distribute=(Distribute("*", (("eu", 90), ("us", 10))),))
    found = [at("eu/a"), at("eu/b"), at("eu/c"), at("eu/d"), at("us/a"), at("us/b"), at("us/c")]
    got = weights(preference, *found)
    assert got == {"eu/a": 135, "eu/b": 135, "eu/c": 135, "eu/d": 135, "us/a": 20, "us/b": 20, "us/c": 20}


def test_a_caller_that_no_rule_names_has_everything() -> None:
    preference = Preference(distribute=(Distribute("us", (("us", 100),)),))
    assert weights(preference, at("eu/a", weight=2), at("us/a")) == {"eu/a": 2, "us/a": 1}


@pytest.mark.parametrize(
    ("place", "pattern", "said"),
    [
        ("eu/a/1", "eu", True),
        ("eu/a/1", "eu/*", True),
        ("eu/a/1", "eu/a/*", True),
        ("eu/a/1", "*", True),
        ("eu/a/1", "eu/a/2", False),
        ("eu/a/1", "eu/b", False),
        ("eu", "eu/a", False),
        ("", "eu", False),
        ("", "*", True),
    ],
)
def test_what_a_pattern_means(place: str, pattern: str, said: bool) -> None:
    assert matches(parse_locality(place), pattern) is said


@pytest.mark.parametrize(
    ("preference", "wanted"),
    [
        (Preference(ranked=True), Place(HERE.locality)),
        (Preference(distribute=(Distribute("*", (("eu", 100),)),)), Place(HERE.locality)),
        (Preference(ranked=True, labels=("shard",)), Place(labels=(("shard", "blue"),))),
        (Preference(ranked=True, labels=("shard=red",)), Place()),
        (Preference(ranked=True, labels=(ZONE,)), Place(HERE.locality)),
        (Preference(ranked=True, labels=(NODE,)), Place(node="m1")),
        (
            Preference(ranked=True, labels=("shard",), failover=(Failover("a", "b"),)),
            Place(HERE.locality, labels=(("shard", "blue"),)),
        ),
        (Preference(on_node=True), Place(node="m1")),
        (Preference(labels=("shard",)), Place()),
    ],
)
def test_what_of_a_place_counts(preference: Preference, wanted: Place) -> None:
    assert standing(preference, HERE) == wanted


def test_when_a_locality_is_chosen_by_weight() -> None:
    heir = (Failover("a", "b"),)
    assert Preference(distribute=(Distribute("*", (("eu", 100),)),)).weighted
    assert Preference(ranked=True, failover=heir).weighted
    assert Preference(ranked=True, labels=("x",)).weighted
    assert not Preference(ranked=True).weighted
    assert not Preference(failover=heir, labels=("x",)).weighted
    assert not Preference(ranked=True, zones=True, failover=heir).weighted
