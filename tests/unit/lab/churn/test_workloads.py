"""Schedules: valid, marked, and the same for the same seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.lab.churn import istio, markers
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.workload import Edit, Key, has
from controlplane.lab.churn.workloads import BY_NAME, WorkloadError, scenario, workload
from controlplane.model.kinds import BY_NAME as KIND
from controlplane.model.kinds import KINDS

SMALL = Mesh(services=20, endpoints=4, namespaces=4, versions=2, nodes=4)
DIALECTS = ("kubernetes", "serviceentry")
DAYS = sorted(name for name in BY_NAME if not name.startswith("istio-"))
READ_FROM_FILES = {"ServiceEntry", "WorkloadEntry", "VirtualService", "DestinationRule", "Sidecar"}


def mesh(dialect: str, **sizes) -> Mesh:
    return Mesh(**{"services": 20, "endpoints": 4, "namespaces": 4, "dialect": dialect} | sizes)


def small(name: str, dialect: str = "serviceentry", seed: int = 1, **options):
    sizes = {"nodes": 4} if name == "node-failure" else {}
    if name == "rolling-deployment":
        sizes = {"versions": 2}
    if name == "config-burst":
        options = {"objects": 30} | options
    return workload(name, mesh(dialect, **sizes), seed, 30.0, **options)


def said(edit: Edit) -> frozenset[int]:
    """The numbers in an object, found as in a response: every text is one of protobuf's strings."""

    def strings(value):
        if isinstance(value, dict):
            for key, one in value.items():
                yield from strings(key)
                yield from strings(one)
        elif isinstance(value, list):
            for one in value:
                yield from strings(one)
        elif isinstance(value, str):
            yield b"\x12" + bytes([len(value) % 128]) + value.encode()

    return markers.found(b"".join(strings(edit.raw)))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", DAYS)
def test_every_object_is_valid_and_says_its_number(name: str, dialect: str) -> None:
    made = small(name, dialect)
    edits = list(made.edits())
    assert edits
    assert [edit.number for edit in edits] == list(range(1, len(edits) + 1))
    for raw in [*made.initial, *(edit.raw for edit in edits)]:
        parsed = KIND[raw["kind"]].parse(raw)
        assert parsed.value is not None, parsed.problems
        assert parsed.problems == ()
    for edit in edits:
        assert (edit.number in said(edit)) == edit.marked, edit
    assert any(edit.marked for edit in edits)
    assert [event.at for event in made.events] == sorted({event.at for event in made.events})
    assert all(0 <= event.at < 30.0 for event in made.events)
    if dialect == "serviceentry":
        written = [*made.initial, *(edit.raw for edit in edits)]
        assert {raw["kind"] for raw in written} <= READ_FROM_FILES
        assert {raw["apiVersion"] for raw in written} == {"networking.istio.io/v1alpha3"}


@pytest.mark.parametrize("name", [one.name for one in istio.CASES])
def test_istios_cases_have_their_sizes(name: str) -> None:
    made = workload(name, seed=1, seconds=3.0)
    kinds = [raw["kind"] for raw in made.initial]
    assert all(KIND[raw["kind"]].parse(raw).problems == () for raw in made.initial)
    assert all(edit.marked and edit.number in said(edit) for edit in made.edits())
    services, endpoints = made.mesh.services, made.mesh.endpoints
    assert kinds.count("ServiceEntry") == services
    if name.startswith("istio-endpoints-"):
        assert (endpoints, services) == tuple(map(int, name.split("-")[2:]))
    else:
        assert services == 100
    assert kinds.count("VirtualService") == (100 if name == "istio-virtualservice" else 0)
    assert kinds.count("WorkloadEntry") == (1000 if "workloadentry" in name else 0)


def test_cases_that_cannot_be_run_say_why() -> None:
    kinds = {kind.name for kind in KINDS}
    for name, why in istio.UNSERVED.items():
        with pytest.raises(WorkloadError, match="cannot be run"):
            workload(name)
        for kind in ("Gateway", "Telemetry", "AuthorizationPolicy", "PeerAuthentication", "EnvoyFilter"):
            assert f"{kind} is not served" not in why or kind not in kinds, f"{name} can be served now"


# -- the same seed --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(DAYS), st.integers(0, 2**32), st.sampled_from(DIALECTS))
def test_the_same_seed_gives_the_same_schedule(name: str, seed: int, dialect: str) -> None:
    # Namespaces that arrive at fixed intervals leave nothing to chance.
    options = {"arrivals": "poisson:1"} if name == "namespace-onboarding" else {}
    once = small(name, dialect, seed, **options)
    assert small(name, dialect, seed, **options) == once
    others = {small(name, dialect, seed + n, **options).digest() for n in range(1, 6)}
    assert others != {once.digest()}


GOLDEN = "77b1e6c7b1b3d526918a587dae94c74249d0033e3279babb3dbb1bcf913d05af"


def test_a_schedule_stays_the_same_across_versions() -> None:
    options = {"endpoints": 2.0, "virtual_services": 1.0, "destination_rules": 0.5}
    made = workload("mixed", Mesh(services=30, endpoints=5, namespaces=3), 42, 60.0, **options)
    assert made.digest() == GOLDEN


def test_the_hash_seed_does_not_matter() -> None:
    made = "workload('node-failure', seed=3, seconds=30)"
    code = f"from controlplane.lab.churn.workloads import workload; print({made}.digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# -- what happens ---------------------------------------------------------------------------------------


def addresses(raw) -> list[str]:
    if raw["kind"] == "ServiceEntry":
        return [one["address"] for one in raw["spec"]["endpoints"]]
    return [one["addresses"][0] for one in raw["endpoints"]]


def members(made):
    """The objects that name endpoints, each with the one before it."""
    before = {}
    for raw in made.initial:
        if raw["kind"] in ("ServiceEntry", "EndpointSlice"):
            before[raw["metadata"]["name"]] = raw
    for edit in made.edits():
        name = edit.raw["metadata"]["name"]
        if edit.key.kind in ("ServiceEntry", "EndpointSlice") and name in before:
            yield before[name], edit
            before[name] = edit.raw


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_rotation_replaces_pods_but_not_those_that_stand(dialect: str) -> None:
    made = small("endpoint-rotation", dialect, pods=3)
    changed = 0
    for old, edit in members(made):
        was, now = addresses(old), addresses(edit.raw)
        assert len(now) == len(was) == 4
        assert now[0] == was[0]
        assert markers.address(edit.number) in now
        assert len(set(now)) == 4
        changed += len(set(was) - set(now))
    assert changed >= 2.5 * len(made.events)


def test_a_rollout_ends_with_the_new_version_everywhere_it_may() -> None:
    made = small("rolling-deployment", arrivals="every:100:1")
    *_, (_, last) = members(made)
    versions = [one["labels"]["version"] for one in last.raw["spec"]["endpoints"]]
    assert versions == ["v1", "v2", "v2", "v2"]
    assert [event.at for event in made.events] == [1.0, 2.0, 3.0]


def test_pods_come_before_the_slice_that_names_them_and_go_after() -> None:
    made = small("rolling-deployment", "kubernetes", arrivals="every:100:1")
    for event in made.events:
        born, named, gone = event.changes
        assert (born.key.kind, named.key.kind, gone.key.kind) == ("Pod", "EndpointSlice", "Pod")
        assert (born.action, gone.action) == ("put", "delete")
        names = [one["targetRef"]["name"] for one in named.raw["endpoints"]]
        assert born.raw["metadata"]["name"] in names
        assert gone.raw["metadata"]["name"] not in names
        assert born.raw["status"]["podIP"] == markers.address(named.number)


def test_a_failed_machine_has_no_pods_and_all_come_back_elsewhere() -> None:
    sizes = mesh("kubernetes", nodes=4, endpoints=8)
    made = workload("node-failure", sizes, 1, 30.0, arrivals="every:100:1", recovery=5.0)
    failed = set()
    for old, edit in members(made):
        nodes_before = {one["addresses"][0]: one["nodeName"] for one in old["endpoints"]}
        nodes = {one["addresses"][0]: one["nodeName"] for one in edit.raw["endpoints"]}
        failed |= {nodes_before[one] for one in set(nodes_before) - set(nodes)}
    assert len(failed) == 1
    last = {edit.key: edit.raw for _, edit in members(made)}
    for raw in last.values():
        assert failed.isdisjoint(one["nodeName"] for one in raw["endpoints"])
        assert len(raw["endpoints"]) == 8
    assert {event.at for event in made.events} == {1.0, 6.0}


def test_a_burst_writes_different_objects_at_once() -> None:
    made = small("config-burst")
    for event in made.events:
        assert len({edit.key for edit in event.changes}) == 30


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_namespace_comes_and_goes(dialect: str) -> None:
    made = small("namespace-onboarding", dialect, arrivals="every:100:1", services=2, stay=5.0)
    arrival, departure = made.events
    assert (arrival.at, departure.at) == (1.0, 6.0)
    assert {edit.key for edit in arrival.changes} == {edit.key for edit in departure.changes}
    assert len(arrival.changes) == (5 if dialect == "kubernetes" else 2)


def test_airbnbs_lab() -> None:
    made = workload("airbnb", seed=1, seconds=60.5)
    entries = [raw for raw in made.initial if raw["kind"] == "ServiceEntry"]
    assert (len(entries), sum(len(addresses(raw)) for raw in entries)) == (50, 500)
    assert sum(len(set(addresses(old)) - set(addresses(edit.raw))) for old, edit in members(made)) == 5 * 6
    assert sum(edit.key.kind == "VirtualService" for edit in made.edits()) == 12


def test_storms_are_beside_the_edits() -> None:
    made = small("reconnect-storm", fraction=0.5)
    assert [(storm.at, storm.fraction) for storm in made.storms] == [(5.0, 0.5), (25.0, 0.5)]


def test_a_later_change_of_the_same_object_proves_an_earlier_one() -> None:
    one, other = Key("ServiceEntry", "a", "x"), Key("ServiceEntry", "a", "y")
    keys = {1: one, 2: other, 3: one}
    assert has(1, keys, {one: 3})
    assert has(3, keys, {one: 3})
    assert not has(3, keys, {one: 1})
    assert not has(2, keys, {one: 3})


# -- mistakes -------------------------------------------------------------------------------------------


def test_mistakes_are_explained() -> None:
    with pytest.raises(WorkloadError, match="there are: airbnb, config-burst"):
        workload("airbn")
    with pytest.raises(WorkloadError, match="no option 'pod'; it has: arrivals, pods"):
        workload("endpoint-rotation", pod=1)
    with pytest.raises(WorkloadError, match="at least 3 nodes"):
        workload("node-failure", Mesh(services=5))
    with pytest.raises(WorkloadError, match="1 to 40"):
        workload("config-burst", Mesh(services=20), objects=41)
    with pytest.raises(WorkloadError, match="no such rule"):
        workload("virtual-service-edits", Mesh(services=5, virtual_services=0))


def test_options_from_a_command_line() -> None:
    rotation = scenario("endpoint-rotation")
    assert rotation.parse({"pods": "3", "arrivals": "poisson:2"}) == {"pods": 3, "arrivals": "poisson:2"}
    with pytest.raises(WorkloadError, match="pods=x"):
        rotation.parse({"pods": "x"})
    with pytest.raises(WorkloadError, match="no option 'colour'"):
        rotation(**rotation.parse({"colour": "red"}))


def test_the_documentation_lists_them_with_their_options() -> None:
    text = (Path(__file__).parents[4] / "docs/lab.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [\d ×]+ \| (.*) \|$", text, re.MULTILINE))
    assert sorted(rows) == DAYS
    for name, options in rows.items():
        told = dict(re.findall(r"`(\w+)=([^`]+)`", options))
        assert told == {key: str(value) for key, value in scenario(name).options().items()}
