"""A container whose network's owner was started anew: told, and no endpoint any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.sources.docker.container import Attachment, Container, Exposed, read
from controlplane.sources.docker.objects import Place, describe

ENVOY = Container(
    id="e" * 64,
    name="shop_web-envoy_1",
    labels=(("com.docker.compose.service", "web-envoy"), ("mini-istiod.proxy", "web")),
    state="running",
    health="healthy",
    networks=(Attachment("shop_default", "172.18.0.2", "", ("web", "web-envoy")),),
    joins="",
    network_mode="shop_default",
    exposed=(),
    published=(),
    created="2026-11-20T10:00:00Z",
    started=100.0,
)
APP = replace(
    ENVOY,
    id="a" * 64,
    name="shop_web_1",
    labels=(("com.docker.compose.service", "web"),),
    networks=(),
    joins=ENVOY.id,
    network_mode=f"container:{ENVOY.id}",
    exposed=(Exposed(80),),
    health="",
    started=101.0,
)
PLACE = Place("default")
AGAIN = "recreate it with all that share that network: docker compose up -d --force-recreate --no-deps {}"


def ready(*containers: Container) -> list[str]:
    pods = [one for one in describe(containers, PLACE).objects if one["kind"] == "Pod"]
    return [pod["status"]["conditions"][0]["status"] for pod in pods]


def warnings(*containers: Container) -> list[tuple[str, str, str]]:
    told = describe(containers, PLACE).problems
    return [(one.name, one.field, one.remedy) for one in told if one.level == "warning"]


def test_an_app_that_started_after_its_sidecar_is_well() -> None:
    assert ready(ENVOY, APP) == ["True"]
    assert warnings(ENVOY, APP) == []


def test_one_that_started_before_has_lost_its_network() -> None:
    restarted = replace(ENVOY, started=102.0)
    assert ready(restarted, APP) == ["False"]
    assert warnings(restarted, APP) == [("shop_web_1", "network_mode", AGAIN.format("web-envoy web"))]


def test_one_whose_sidecar_has_ended_is_told_of() -> None:
    ended = replace(ENVOY, state="exited", health="")
    assert warnings(ended, APP) == [("shop_web_1", "network_mode", AGAIN.format("web-envoy web"))]
    assert warnings(ended, replace(APP, state="exited")) == []


@pytest.mark.parametrize(
    ("envoy", "app"),
    [
        (replace(ENVOY, started=102.0), replace(APP, started=0.0)),
        (replace(ENVOY, started=0.0), APP),
    ],
)
def test_nothing_is_guessed_where_a_time_is_not_known(envoy: Container, app: Container) -> None:
    assert ready(envoy, app) == ["True"]
    assert warnings(envoy, app) == []


def test_a_helper_that_has_ended_needs_no_network() -> None:
    init = replace(APP, name="shop_web-init_1", state="exited", started=99.0)
    assert warnings(ENVOY, APP, init) == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1970-01-01T00:01:40.5Z", 100.5),
        ("1970-01-01T00:01:40.123456789Z", 100.123456),
        ("0001-01-01T00:00:00Z", 0.0),
        (None, 0.0),
        ("soon", 0.0),
    ],
)
def test_the_time_of_the_start_is_read(said: Any, seconds: float) -> None:
    found = read({"Id": "a" * 64, "Name": "/web", "State": {"Status": "running", "StartedAt": said}})
    assert isinstance(found, Container)
    assert found.started == pytest.approx(seconds)
