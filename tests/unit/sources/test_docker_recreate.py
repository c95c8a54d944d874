"""The commands in remedies: what Compose has to make anew, and by which files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.sources.docker.container import Container
from controlplane.sources.docker.recreate import recreation, start
from tests.support.containers import container, described, meshed, told

PROJECT = "com.docker.compose.project"
BY_1_29 = {
    "com.docker.compose.version": "1.29.2",
    f"{PROJECT}.config_files": "docker-compose.mesh.yml",
    f"{PROJECT}.working_dir": "/srv/shop",
}
BY_2 = {
    "com.docker.compose.version": "2.39.1",
    f"{PROJECT}.config_files": "/srv/shop/compose.yml,/srv/shop/more.yml",
    f"{PROJECT}.working_dir": "/srv/shop",
}
AGAIN = "recreate it with all that share that network: "
ANEW = "up -d --force-recreate --no-deps api-envoy api-init api"


def api(labels: dict[str, str]) -> list[Container]:
    """A sidecar, its init container and its application, with these labels of Compose's."""
    return [labelled(one, labels) for one in meshed("api", "172.18.0.2", ports=(80,))]


def labelled(one: Container, labels: dict[str, str]) -> Container:
    return replace(one, labels=tuple(sorted({**dict(one.labels), **labels}.items())))


@pytest.mark.parametrize(
    ("labels", "command"),
    [
        (BY_1_29, f"docker-compose -p shop -f docker-compose.mesh.yml {ANEW}"),
        (BY_2, f"docker compose -p shop -f /srv/shop/compose.yml -f /srv/shop/more.yml {ANEW}"),
        ({}, f"docker compose -p shop {ANEW}"),
        # The file came from standard input.
        (BY_2 | {f"{PROJECT}.config_files": "-"}, f"docker compose -p shop {ANEW}"),
        (
            BY_2 | {f"{PROJECT}.config_files": "/a/x.yml", f"{PROJECT}.environment_file": "/e/.env"},
            f"docker compose -p shop --project-directory /srv/shop --env-file /e/.env -f /a/x.yml {ANEW}",
        ),
        (
            BY_1_29 | {f"{PROJECT}.config_files": "shop/x.yml"},
            f"docker-compose -p shop -f shop/x.yml {ANEW}",
        ),
        (
            BY_1_29 | {f"{PROJECT}.config_files": "conf/x.yml"},
            f"docker-compose -p shop --project-directory /srv/shop -f conf/x.yml {ANEW}",
        ),
        # Labels are anybody's.
        (
            BY_1_29 | {f"{PROJECT}.config_files": "a b.yml; reboot"},
            f"docker-compose -p shop -f 'a b.yml; reboot' {ANEW}",
        ),
    ],
)
def test_a_sidecar_its_rules_and_its_application_are_made_anew_by_their_files(
    labels: dict[str, str], command: str
) -> None:
    sidecar, init, app = api(labels)
    assert recreation(app, sidecar, [app, init]) == AGAIN + command
    # Where the sidecar is gone, its init container tells what it was called.
    assert recreation(app, None, [app, init]) == AGAIN + command


@pytest.mark.parametrize(
    "labels",
    [
        {f"{PROJECT}.config_files": "\x1b[2J.yml"},
        {f"{PROJECT}.config_files": "x" * 2000},
        {"com.docker.compose.service": "--remove-orphans"},
    ],
)
def test_no_command_is_made_of_odd_labels(labels: dict[str, str]) -> None:
    sidecar, init, app = api(BY_1_29)
    app = labelled(app, labels)
    wanted = "recreate it, after the container whose network it shares"
    assert recreation(app, labelled(sidecar, labels), [app, init]) == wanted


def test_helpers_are_made_anew_too_and_what_is_not_of_the_project_is_not() -> None:
    sidecar, init, app = api(BY_1_29)
    helper = container("tail", joins=sidecar)
    visitor = container("shell", joins=sidecar, labels={"com.docker.compose.oneoff": "True"})
    other = container("spy", joins=sidecar, labels={PROJECT: "other"})
    found = recreation(helper, sidecar, [app, helper, init, visitor, other])
    assert found.endswith("--force-recreate --no-deps api-envoy api-init api tail")
    assert "Compose" not in found and "docker" not in recreation(replace(app, labels=()), sidecar, [init])


def test_where_nobody_tells_whose_network_it_was_all_that_it_needs_is_made_anew() -> None:
    lost = container("app", joins=container("vpn", "172.18.0.2"), labels=BY_1_29)
    assert recreation(lost, None, [lost]).endswith("mesh.yml up -d --force-recreate app")


def test_an_application_beside_its_sidecar_is_told_to_start_by_the_meshed_file() -> None:
    sidecar, init, app = api(BY_1_29)
    plain = container("api", "172.18.0.9", ports=(80,))
    found = described(sidecar, init, plain)
    assert told(found) == [("warning", "shop_api_1", "network_mode")]
    (problem,) = found.problems
    assert "shop_api-envoy_1" in problem.message and "plaintext" in problem.message
    assert problem.remedy == (
        "start the project by its meshed file: docker-compose -p shop -f docker-compose.mesh.yml up -d"
    )
    # So is one whose sidecar publishes ports, and one whose sidecar has ended; once.
    for other in (replace(sidecar, published=app.exposed), replace(sidecar, state="exited")):
        assert told(described(other, init, plain)) == [("warning", "shop_api_1", "network_mode")]
    assert start(labelled(sidecar, {PROJECT: "a\tb"})) == "start the project by its meshed file"


@pytest.mark.parametrize(
    "said",
    [
        {"state": "exited"},
        {"labels": {PROJECT: "other"}},
        {"labels": {"com.docker.compose.oneoff": "True"}},
    ],
)
def test_who_is_not_the_application_of_a_sidecar_goes_by_nobody(said: dict[str, Any]) -> None:
    sidecar, init, _ = api(BY_1_29)
    plain = container("api", "172.18.0.9", **said)
    assert told(described(sidecar, init, plain)) == [
        ("info", "shop_api-envoy_1", "labels[mini-istiod.proxy]")
    ]


@pytest.mark.parametrize("state", ["running", "exited"])
def test_a_second_program_of_a_service_behind_one_sidecar_is_told(state: str) -> None:
    number = "com.docker.compose.container-number"
    sidecar, init, app = api({number: "1"})
    copy = replace(labelled(app, {number: "2"}), id="c" * 64, name="shop_api_2", state=state)
    found = described(sidecar, init, app, copy)
    assert told(found) == [("warning", "shop_api_2", "network_mode")]
    assert "shop_api_1" in found.problems[0].message and "--scale api=2" in found.problems[0].remedy
    # Who is being replaced has the number of the other; and a guest has another service.
    old = replace(app, id="c" * 64, name="0123456789ab_shop_api_1")
    guest = container("tail", joins=sidecar, labels={number: "2"})
    assert not described(sidecar, init, app, old, guest).problems
