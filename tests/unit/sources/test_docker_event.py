"""Docker's events, signals and ids, as they are written by 20.10, by newer ones and by Podman."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.sources.docker.event import FILTERS, Event, read_event
from controlplane.sources.docker.own import ids_in, own_container
from controlplane.sources.docker.stopping import StopRule, signal_number, started, stop_rule

ID = "6e82223adec55bebf59f772073298bf0a16d18ccb7d26577d29eaa5fde9b1e11"
OTHER = "1b2fc91c7acc4da951d37bc60195515dff7c5e3021d5cc7a841b2072dc656127"


def container_event(action: str, **attributes: str) -> dict[str, Any]:
    """As Docker 20.10 writes it."""
    return {
        "status": action,
        "id": ID,
        "from": "python:3.11-slim",
        "Type": "container",
        "Action": action,
        "Actor": {"ID": ID, "Attributes": {"image": "python:3.11-slim", "name": "shop_x_1", **attributes}},
        "scope": "local",
        "time": 1795189218,
        "timeNano": 1795189218725318710,
    }


def network_event(action: str, **attributes: str) -> dict[str, Any]:
    return {
        "Type": "network",
        "Action": action,
        "Actor": {"ID": "c6aca48d45b9", "Attributes": {"name": "shop", "type": "bridge", **attributes}},
        "scope": "local",
        "time": 1795189213,
        "timeNano": 1795189213756260167,
    }


@pytest.mark.parametrize(
    ("raw", "action", "detail"),
    [
        (container_event("start"), "start", ""),
        (container_event("kill", signal="15"), "kill", "15"),
        (container_event("die", exitCode="137"), "die", ""),
        (container_event("died"), "die", ""),
        (container_event("remove"), "destroy", ""),
        (container_event("health_status: unhealthy"), "health_status", "unhealthy"),
        (container_event("health_status", health_status="healthy"), "health_status", "healthy"),
        (network_event("connect", container=ID), "connect", ""),
        (network_event("disconnect", container=ID), "disconnect", ""),
    ],
)
def test_what_changes_a_mesh(raw: dict[str, Any], action: str, detail: str) -> None:
    event = read_event(raw)
    assert event is not None
    assert event[:3] == (ID, action, detail)
    assert event.at == pytest.approx(raw["timeNano"] / 1e9)


@pytest.mark.parametrize(
    "raw",
    [
        container_event("exec_create: /bin/sh -c true"),
        container_event("top"),
        network_event("create"),
        network_event("connect"),
        {"Type": "image", "Action": "pull", "Actor": {"ID": "x", "Attributes": {}}},
        {"Type": "container", "Action": "start", "Actor": {"ID": ""}},
        {"Type": "container", "Action": "start"},
        {"Type": "container", "Action": 3, "Actor": {"ID": ID}},
        {},
    ],
)
def test_what_says_nothing(raw: dict[str, Any]) -> None:
    assert read_event(raw) is None


def test_an_event_without_nanoseconds_has_its_seconds() -> None:
    raw = container_event("start")
    del raw["timeNano"]
    assert read_event(raw) == Event(ID, "start", "", 1795189218.0)


@pytest.mark.parametrize("time", [10**400, -1, 1e308, float("nan"), "now", None])
def test_a_time_that_is_none_says_nothing(time: object) -> None:
    raw = {**container_event("start"), "time": time, "timeNano": time}
    assert read_event(raw) == Event(ID, "start", "", 0.0)


def test_health_checks_that_run_are_not_asked_for() -> None:
    asked = json.loads(FILTERS)
    assert asked["type"] == ["container", "network"]
    assert {"start", "die", "died", "kill", "destroy", "health_status", "connect"} <= set(asked["event"])
    assert not [one for one in asked["event"] if one.startswith("exec")]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15),
        ("SIGTERM", 15),
        ("term", 15),
        ("SIGUSR1", 10),
        ("WINCH", 28),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("SIGSYS", 31),
        ("", 0),
        ("SIGNONSENSE", 0),
        pytest.param("9" * 5000, 0, id="longer than a number may be"),
        pytest.param("RTMIN+" + "9" * 5000, 34, id="the same behind a plus"),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert signal_number(text) == number


def test_the_signals_that_stop_a_container_are_its_own_and_those_that_end_programs() -> None:
    plain = stop_rule({"Config": {}})
    assert plain == StopRule()
    assert [one for one in ("1", "2", "3", "9", "10", "15") if plain.ends(one)] == ["2", "3", "9", "15"]
    own = stop_rule({"Config": {"StopSignal": "SIGUSR1", "StopTimeout": 45}})
    assert own.ends("10")
    assert own.ends("15")
    assert not own.ends("1")
    assert own.patience == plain.patience + 35
    # `docker stop` may be given more time than the container asks for.
    assert stop_rule({"Config": {"StopTimeout": 1}}).patience == plain.patience
    assert stop_rule({"Config": {"StopTimeout": 10**400}}).patience > own.patience
    # Podman does not say which signal it was.
    assert not plain.ends("")
    assert stop_rule({"Config": None}) == stop_rule({}) == plain
    assert stop_rule({"Config": {"StopSignal": None}}) == stop_rule({"Config": {"StopSignal": 10}}) == plain


def test_when_a_container_was_started() -> None:
    def at(text: object) -> float:
        return started({"State": {"StartedAt": text}})

    assert at("2026-11-20T15:40:21.299538411Z") == pytest.approx(1795189221.299538)
    assert at("2026-11-20T16:40:21.299538411+01:00") == at("2026-11-20T15:40:21.299538411Z")
    assert at("0001-01-01T00:00:00Z") < 0
    assert at("yesterday") == at(None) == started({}) == float("-inf")


MOUNTS = f"""\
119 100 0:52 / / rw,relatime - overlay overlay rw,upperdir=/var/lib/docker/overlay2/{OTHER}/diff
136 119 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw
137 119 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda rw
140 119 254:0 /var/lib/docker/volumes/{OTHER}/_data /data rw - ext4 /dev/vda rw
"""
PODMAN = f"20 1 0:9 /containers/overlay-containers/{ID}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw\n"


def test_its_own_container() -> None:
    assert ids_in(ID[:12], "") == (ID[:12],)
    assert ids_in("istiod", MOUNTS) == (ID,)
    assert ids_in("istiod", PODMAN) == (ID,)
    assert ids_in("istiod", "", f"9:cpu:/docker/{OTHER}/docker/{ID}\n0::/\n") == (ID, OTHER)
    assert ids_in("istiod", "", f"0::/system.slice/docker-{ID}.scope\n") == (ID,)
    assert ids_in("istiod", "", "/docker/" + ID + "\n") == (ID,)
    assert ids_in("build-machine-7", "", "0::/\n") == ()


def test_only_a_container_that_exists_is_its_own() -> None:
    assert own_container((OTHER, ID[:12]), (ID, "f" * 64)) == ID
    assert own_container((OTHER,), (ID,)) == ""
    # Ambiguous, or no id at all.
    assert own_container(("6e82223adec5",), (ID, "6e82223adec5" + "0" * 52)) == ""
