"""Recognising responses: equal ones are parsed once, whatever a server puts around the resources."""

from __future__ import annotations

import random

import pytest

from controlplane.base import wire
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from controlplane.lab.fleet.responses import Parser
from tests.unit.lab.fleet.answers import DELTA, SOTW, cluster, endpoints, listener, response, routes

both = pytest.mark.parametrize("protocol", [DELTA, SOTW])
BODIES = {f"c{n}": cluster(f"c{n}") for n in range(20)}


def parser(protocol: str, kept: int = 2**20) -> Parser:
    return Parser(delta=protocol == DELTA, kept=kept)


@both
def test_equal_bodies_are_parsed_once_whatever_the_nonce(protocol: str) -> None:
    one = parser(protocol)
    found = [
        one.parse(response(protocol, CLUSTER, f"nonce-{n}", BODIES, version=f"v{10**n}", identifier="me" * n))
        for n in range(1, 6)
    ]
    assert one.parsed == 1
    assert len({id(response.content) for response in found}) == 1
    assert [response.nonce for response in found] == [f"nonce-{n}" for n in range(1, 6)]
    assert [response.version for response in found] == [f"v{10**n}" for n in range(1, 6)]
    assert list(found[0].content.found) == list(BODIES)


@both
def test_versions_of_any_length(protocol: str) -> None:
    one = parser(protocol)
    for size in (0, 1, 127, 128, 20_000):
        found = one.parse(response(protocol, CLUSTER, "1", BODIES, version="x" * size))
        assert found.version == "x" * size
    assert one.parsed == 1


@both
def test_other_bodies_of_the_same_size_are_others(protocol: str) -> None:
    # Beginning and end are equal; small ones and large ones are recognised in two ways.
    for filler in ("", "x" * 20_000):
        one = parser(protocol, kept=2**24)
        bodies = {**BODIES, "c9": cluster("c9", eds=filler)}
        many = [{**bodies, "c7": cluster("c7", salt=n)} for n in range(1, 100)]
        for _ in range(2):
            for n, found in enumerate(many):
                content = one.parse(response(protocol, CLUSTER, "1", found)).content
                assert content.found["c7"].resource.body == cluster("c7", salt=n + 1)
        assert one.parsed == len(many)


@both
def test_an_order_that_changes_makes_no_other_content(protocol: str) -> None:
    one = parser(protocol)
    rng = random.Random(1)
    names = list(BODIES)
    contents = set()
    for _ in range(10):
        rng.shuffle(names)
        found = one.parse(response(protocol, CLUSTER, "1", {name: BODIES[name] for name in names}))
        contents.add(found.content)
    assert len(contents) == 1


def test_removed_names_stand_behind_the_resources() -> None:
    one = parser(DELTA)
    gone = one.parse(response(DELTA, CLUSTER, "1", BODIES, removed=("x", "y"))).content
    none = one.parse(response(DELTA, CLUSTER, "2", BODIES)).content
    again = one.parse(response(DELTA, CLUSTER, "3", BODIES, removed=("x", "y"))).content
    assert (gone.removed, none.removed) == (("x", "y"), ())
    assert (gone is again, gone is none) == (True, False)
    only = one.parse(response(DELTA, CLUSTER, "4", {}, removed=("x",))).content
    assert (only.found, only.removed) == ({}, ("x",))


@both
def test_empty_responses_of_two_types_differ(protocol: str) -> None:
    one = parser(protocol)
    urls = (CLUSTER, ENDPOINT, LISTENER, ROUTE, CLUSTER)
    assert [one.parse(response(protocol, url, "1", {})).content.url for url in urls] == list(urls)


def test_fields_in_another_order_are_read_as_well() -> None:
    one = parser(DELTA)
    data = response(DELTA, CLUSTER, "", BODIES)
    cut = data.rfind(b"type.googleapis.com/") - 2
    turned = data[cut:] + data[:cut]
    found = one.parse(turned)
    assert (found.content.url, list(found.content.found), found.version) == (CLUSTER, list(BODIES), "v")


def test_the_last_of_two_nonces_counts() -> None:
    data = response(DELTA, ENDPOINT, "first", {"a": endpoints("a")}) + wire.string(5, "second")
    assert parser(DELTA).parse(data).nonce == "second"


@both
def test_only_so_much_is_kept_for_comparison(protocol: str) -> None:
    small = len(response(protocol, CLUSTER, "1", BODIES)) * 3
    one = parser(protocol, kept=small)
    many = [response(protocol, CLUSTER, "1", {**BODIES, "c7": cluster("c7", salt=n)}) for n in range(1, 20)]
    for data in many:
        one.parse(data)
    assert one.parsed == len(many)
    one.parse(many[-1])
    assert one.parsed == len(many)
    one.parse(many[0])
    assert one.parsed == len(many) + 1


@both
def test_what_is_kept_has_bounds(protocol: str) -> None:
    kept = 5_000_000
    one = parser(protocol, kept=kept)
    filler = {"x": cluster("x", eds="x" * 4000)}
    for n in range(500):
        bodies = {**filler, "own": cluster("own", eds=f"{n:06}" * 2000), **BODIES}
        one.parse(response(protocol, CLUSTER, "1", bodies, versions={}))
    sections = [len(section.data) for section in one._order]
    assert sum(sections) == one._size <= kept
    assert len(sections) == 256
    assert sum(map(len, one._frames._young)) == one._frames._size <= kept
    assert one._frames._old
    assert sum(map(len, one._frames._old)) < 2 * kept


def test_names_are_what_resources_say() -> None:
    one = parser(SOTW)
    for url, make in ((CLUSTER, cluster), (ENDPOINT, endpoints), (LISTENER, listener), (ROUTE, routes)):
        name = "n" * 300
        assert list(one.parse(response(SOTW, url, "1", {"": make(name)})).content.found) == [name]


@both
def test_resources_that_were_seen_are_recognised_among_new_ones(protocol: str) -> None:
    one = parser(protocol)
    first = one.parse(response(protocol, CLUSTER, "1", BODIES)).content
    names = [*list(BODIES)[:7], "new", *list(BODIES)[9:], "last"]
    bodies = {name: BODIES.get(name) or cluster(name) for name in names}
    for _ in range(2):
        found = one.parse(response(protocol, CLUSTER, "2", bodies)).content.found
        assert list(found) == names
        assert {name: held.resource.body for name, held in found.items()} == bodies
        assert all(found[name].resource is first.found[name].resource for name in names if name in BODIES)


@both
def test_more_resources_than_are_kept(protocol: str) -> None:
    one = parser(protocol, kept=200)
    rng = random.Random(2)
    for turn in range(30):
        names = rng.sample(range(40), 20)
        bodies = {f"c{n}": cluster(f"c{n}", salt=turn % 3) for n in names}
        found = one.parse(response(protocol, CLUSTER, f"{turn}", bodies)).content.found
        assert {name: held.resource.body for name, held in found.items()} == bodies


def test_a_field_that_is_no_resource_between_them() -> None:
    # The field `canary` of a state-of-the-world response.
    data = response(SOTW, CLUSTER, "1", BODIES)
    cut = data.rfind(b"type.googleapis.com/") - 2
    found = parser(SOTW).parse(data[:cut] + wire.uint(3, 1) + data[cut:])
    assert (list(found.content.found), found.nonce) == (list(BODIES), "1")


@both
def test_a_new_version_of_the_same_content(protocol: str) -> None:
    one = parser(protocol)
    contents = []
    for version in ("1", "2"):
        versions = dict.fromkeys(BODIES, version)
        contents.append(one.parse(response(protocol, CLUSTER, "1", BODIES, versions=versions)).content)
    old, new = (content.found["c3"] for content in contents)
    assert old.resource is new.resource
    assert (old.version, new.version) == (("1", "2") if protocol == DELTA else ("", ""))


@both
def test_large_bodies_of_which_every_proxy_has_its_own(protocol: str) -> None:
    one = parser(protocol, kept=2**24)
    filler = {f"x{n}": endpoints(f"x{n}", "10.0.0.1" + "0" * 100_000) for n in range(11)}
    for number in range(20):
        own = endpoints("own", f"10.0.1.{100 + number}")
        found = one.parse(response(protocol, ENDPOINT, "1", {**filler, "own": own})).content.found
        assert found["own"].resource.body == own
    # Those of all are still recognised when one of them comes often.
    for _ in range(40):
        one.parse(response(protocol, ENDPOINT, "1", filler))
    before = one.parsed
    one.parse(response(protocol, ENDPOINT, "1", filler))
    assert one.parsed == before
