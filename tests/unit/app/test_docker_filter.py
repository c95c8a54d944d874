"""What the filter in front of Docker lets through, and what is left of an answer."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.docker_filter import Question, answer, event, question
from controlplane.sources.docker.container import read
from controlplane.sources.docker.event import read_event
from controlplane.sources.docker.stopping import started, stop_rule
from controlplane.sources.docker.summary import summarize

INSPECTED = json.loads((Path(__file__).parents[1] / "sources/docker_inspected.json").read_text())
SECRET = "hunter2"
NETWORK = {"IPAddress": "10.1.0.2", "GlobalIPv6Address": "", "MacAddress": SECRET, "NetworkID": SECRET}
LISTED = {
    "Id": "ab",
    "Names": ["/web"],
    "Image": SECRET,
    "Command": f"login --password {SECRET}",
    "State": "running",
    "Status": "Up 2 minutes (healthy)",
    "Labels": {"app": "web"},
    "HostConfig": {"NetworkMode": SECRET},
    "NetworkSettings": {"Networks": {"mesh": NETWORK}},
    "Mounts": [{"Source": SECRET}],
}


@pytest.mark.parametrize("version", ["", "/v1.41", "/v1.9"])
@pytest.mark.parametrize(
    "kind, path",
    [
        ("_ping", "/_ping"),
        ("version", "/version"),
        ("events", "/events"),
        ("containers", "/containers/json"),
        ("container", "/containers/6e82223adec5/json"),
        ("container", "/containers/my_web-1.x/json"),
    ],
)
def test_five_questions_pass_in_any_version(kind: str, path: str, version: str) -> None:
    assert question("GET", version + path, {}) == Question(kind, version + path, {})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "get"])
@pytest.mark.parametrize("path", ["/containers/json", "/containers/create", "/containers/x/json"])
def test_nothing_but_questions(method: str, path: str) -> None:
    assert "only lets questions pass" in str(question(method, path, {}))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/info",
        "/images/json",
        "/containers/x/archive",
        "/containers/x/logs",
        "/containers/x/attach/ws",
        "/containers/x/top",
        "/containers/x/export",
        "/secrets",
        "/v1.41",
        "/v1.41/v1.41/_ping",
        "//containers/json",
        "/containers/../images/json",
        "/containers/..%2fimages/json",
        "/containers/../json",
        "/containers//json",
        "/containers/x%00/json",
        "/containers/x/json/",
        "/containers/x/json\n",
        "/_ping\r\nGET /secrets",
        "http://other/containers/json",
        "/containers/" + "x" * 256 + "/json",
    ],
)
def test_other_paths_do_not_pass(path: str) -> None:
    assert "let through" in str(question("GET", path, {}))


def test_only_parameters_that_say_which_are_passed_on() -> None:
    given = {"all": "1", "filters": "{}", "size": "1", "limit": "3", "since": "1", "until": "2"}
    found = [question("GET", path, given) for path in ("/containers/json", "/events", "/containers/x/json")]
    assert [one.query for one in found if isinstance(one, Question)] == [
        {"all": "1", "filters": "{}"},
        {"since": "1", "until": "2", "filters": "{}"},
        {},
    ]


@pytest.mark.parametrize("inspected", INSPECTED, ids=lambda one: one["Name"])
def test_what_is_left_of_a_container_says_all_that_is_read_of_it(inspected: dict[str, Any]) -> None:
    left = answer("container", inspected)
    assert read(left) == read(inspected)
    assert stop_rule(left) == stop_rule(inspected)
    assert started(left) == started(inspected) > 0


def test_secrets_of_a_container_do_not_get_out() -> None:
    full = copy.deepcopy(INSPECTED[0])
    full["Args"] = full["Config"]["Cmd"] = full["Config"]["Entrypoint"] = ["login", SECRET]
    full["Config"]["Env"] = [f"PASSWORD={SECRET}"]
    full["Config"]["Healthcheck"] = {"Test": ["CMD", SECRET]}
    full["State"]["Health"] = {"Status": "healthy", "Log": [{"Output": SECRET}]}
    full["HostConfig"]["Binds"] = full["Mounts"] = [SECRET]
    # Whatever a later Docker adds is not on the list.
    full["Tomorrow"] = full["Config"]["Tomorrow"] = full["State"]["Tomorrow"] = {"x": SECRET}
    left = answer("container", full)
    assert left["State"]["Health"] == {"Status": "healthy"}
    assert SECRET not in json.dumps(left)


def test_what_is_left_of_the_list_says_all_that_is_read_of_it() -> None:
    (left,) = answer("containers", [LISTED])
    assert summarize(left) == summarize(LISTED)
    assert SECRET not in json.dumps(left)


def test_shapes_that_nobody_expects_give_nothing_away() -> None:
    assert answer("container", [SECRET]) == [None]
    assert answer("container", {"Config": SECRET, "State": [SECRET]}) == {"State": None, "Config": None}
    assert answer("containers", {"message": SECRET}) == {}


KILL = {
    "status": "kill",
    "id": "ab",
    "from": SECRET,
    "Type": "container",
    "Action": "kill",
    "Actor": {"ID": "ab", "Attributes": {"signal": "10", "name": "web", "image": SECRET}},
    "time": 1,
    "timeNano": 1_500_000_000,
}


def test_an_event_keeps_what_is_read_of_it() -> None:
    left = event(KILL)
    assert read_event(left or {}) == read_event(KILL) is not None
    assert SECRET not in json.dumps(left)


@pytest.mark.parametrize(
    "action", [f"exec_create: login {SECRET}", f"exec_start: login {SECRET}", "attach", "top", "copy"]
)
def test_events_that_say_nothing_to_a_mesh_are_left_out(action: str) -> None:
    assert event({**KILL, "Action": action}) is None


@pytest.mark.parametrize("raw", [None, [], "kill", {"Type": "image", "Action": "pull"}, {"Type": "secret"}])
def test_nor_does_anything_that_is_no_event_of_a_container(raw: Any) -> None:
    assert event(raw) is None
