"""What is read of Docker's answer about one container, old engines' and new ones'."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.model.problem import Problem
from controlplane.sources.docker.container import FIELDS, Attachment, Container, Exposed, read

# From Docker 20.10, as docker-compose 1.29 started them: a sidecar, and who joins its network.
INSPECTED = json.loads((Path(__file__).parent / "docker_inspected.json").read_text())


def sidecar() -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(INSPECTED[1])
    return found


def usable(inspected: dict[str, Any]) -> Container:
    found = read(inspected)
    assert isinstance(found, Container), found
    return found


def test_a_sidecar() -> None:
    found = usable(sidecar())
    assert found.name == "shop_reviews-v1-envoy_1"
    assert (found.state, found.health, found.running) == ("running", "starting", True)
    assert found.label("mini-istiod.proxy") == "reviews-v1"
    names = ("reviews", "reviews-v1", "reviews-v1-envoy")
    assert found.networks == (Attachment("shop_default", "172.20.0.2", "", names),)
    assert (found.joins, found.network_mode) == ("", "shop_default")
    assert found.exposed == (Exposed(9080), Exposed(9081))
    assert found.published == (Exposed(9080),)
    assert found.created == "2026-11-20T15:45:55.297394837Z"
    assert found.started > 0
    assert found.origin == "docker:shop_reviews-v1-envoy_1"


def test_who_joins_its_network() -> None:
    found = usable(INSPECTED[0])
    assert found.joins == sidecar()["Id"]
    assert (found.networks, found.exposed, found.health) == ((), (), "")


def test_a_newer_engine_has_its_names_in_another_field() -> None:
    inspected = sidecar()
    attached = inspected["NetworkSettings"]["Networks"]["shop_default"]
    attached["Aliases"] = ["shop-reviews-v1-envoy-1", "reviews-v1-envoy", "reviews"]
    attached["DNSNames"] = [*attached["Aliases"], inspected["Id"][:12], "chosen-hostname"]
    (found,) = usable(inspected).networks
    assert found.aliases == ("chosen-hostname", "reviews", "reviews-v1-envoy", "shop-reviews-v1-envoy-1")


def test_nothing_is_read_that_is_not_said_to_be() -> None:
    reduced: dict[str, Any] = {}
    for field in FIELDS:
        _keep(sidecar(), reduced, field.split("."))
    assert read(reduced) == usable(sidecar())


def _keep(value: dict[str, Any], out: dict[str, Any], path: list[str]) -> None:
    for key in value if path[0] == "*" else path[:1]:
        if len(path) == 1:
            out[key] = value.get(key)
        elif isinstance(value.get(key), dict):
            _keep(value[key], out.setdefault(key, {}), path[1:])


@pytest.mark.parametrize("missing", ["Id", "Name", "State"])
def test_an_answer_that_names_no_container_or_no_state_is_a_problem(missing: str) -> None:
    inspected = sidecar()
    del inspected[missing]
    found = read(inspected)
    assert isinstance(found, Problem)
    assert found.level == "error" and found.message and found.remedy


@pytest.mark.parametrize("part", ["Config", "HostConfig", "NetworkSettings"])
@pytest.mark.parametrize(
    "odd", [None, [], "text", 1, {"Labels": 1, "Networks": {"a": 1}, "PortBindings": []}]
)
def test_any_other_part_may_be_missing_or_odd(part: str, odd: object) -> None:
    inspected = sidecar()
    inspected[part] = odd
    assert usable(inspected).name == "shop_reviews-v1-envoy_1"


@pytest.mark.parametrize(
    ("keys", "ports"),
    [
        (["80/tcp", "53/udp", "9/sctp"], [(9, "sctp"), (53, "udp"), (80, "tcp")]),
        (["80"], [(80, "tcp")]),
        (["0/tcp", "65536/tcp", "-1/tcp", "x/tcp", "", "99999999999/tcp"], []),
    ],
)
def test_ports(keys: list[str], ports: list[tuple[int, str]]) -> None:
    inspected = sidecar()
    inspected["Config"]["ExposedPorts"] = {key: {} for key in keys}
    assert list(usable(inspected).exposed) == ports


def test_no_check_is_no_health_however_it_is_said() -> None:
    inspected = sidecar()
    inspected["State"]["Health"] = {"Status": "none"}
    assert usable(inspected).health == ""
