"""The demo in containers, without any: what becomes of steps, objects and answers; what compose is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from controlplane.lab import cluster, containers, demo, demo_compose
from controlplane.lab.hops import INGRESS, OUTSIDER, hops, unexpected
from controlplane.lab.programs import ProgramFailed
from controlplane.lab.shop import SAMPLE
from controlplane.lab.steps import STEPS
from controlplane.lab.ways import Go, Way
from tests.unit.lab.test_demo import options


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, {}),
        ({"DOCKER_HOST": "tcp://127.0.0.1:2375"}, {}),
        (
            {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"},
            {"DOCKER_SOCKET": "/run/user/1000/docker.sock"},
        ),
        ({"DOCKER_HOST": "unix:///run/a.sock", "DOCKER_SOCKET": "/run/b.sock"}, {}),
    ],
)
def test_a_docker_that_is_not_in_its_usual_place(environ: dict[str, str], wanted: dict[str, str]) -> None:
    assert containers.docker_socket(environ) == wanted


def test_who_visits_the_shop_does_so_at_the_gateway() -> None:
    for step in STEPS:
        before, after = step.visits, demo_compose.adapted(step).visits
        assert len(after) == len(before)
        for visit, found in zip(before, after, strict=True):
            outside = visit.client == OUTSIDER
            if not outside and visit.asks == "productpage":
                assert (found.client, found.asks, found.asker) == (OUTSIDER, INGRESS, INGRESS)
            else:
                assert found == visit
            assert (found.expect, found.headers) == (visit.expect, visit.headers)


def test_objects_move_to_where_containers_are() -> None:
    policies = cluster.load(SAMPLE / "security" / "authorization.yaml")
    found = {one["kind"]: containers.in_default(one) for one in policies}
    assert found["PeerAuthentication"]["metadata"]["namespace"] == "istio-system"
    policy = found["AuthorizationPolicy"]
    assert policy["metadata"]["namespace"] == "default"
    (principal,) = policy["spec"]["rules"][0]["from"][0]["source"]["principals"]
    assert principal == "cluster.local/ns/default/sa/productpage"
    # What the caller has stays as it was.
    assert policies[1]["metadata"]["namespace"] == "bookstore"
    assert containers.in_default({"metadata": {"name": "x"}})["metadata"]["namespace"] == "default"


SA = "spiffe://cluster.local/ns/default/sa"


def page(caller: str, details_caller: str) -> dict[str, object]:
    details = {"name": "details", "version": "v1", "caller": details_caller, "hops": []}
    failed = {"name": "reviews", "error": 503}
    body = {"name": "productpage", "version": "v1", "caller": caller, "hops": [details, failed]}
    return {"status": 200, "body": body, "error": None}


def test_callers_are_known_by_their_accounts_in_containers() -> None:
    right = containers.as_in_pods(page(f"{SA}/ingressgateway", f"{SA}/productpage"))
    assert unexpected(hops([right], INGRESS)) == ()
    assert right["body"]["hops"][1] == {"name": "reviews", "error": 503}
    wrong = containers.as_in_pods(page(f"{SA}/reviews", ""))
    assert len(unexpected(hops([wrong], INGRESS))) == 2
    assert containers.as_in_pods({"body": None})["body"] is None


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compose file with a mesh folder, and a compose command that writes down what it is asked."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/security.yaml").write_text((SAMPLE / "security/strict.yaml").read_text())
    (tmp_path / "docker-compose.yml").touch()
    compose = tmp_path / "compose"
    compose.write_text('#!/bin/sh\necho "$INGRESS_PORT $*" >> "$0.asked"; exec cat "$0.answer"\n')
    compose.chmod(0o755)
    (tmp_path / "compose.answer").write_text("42")
    monkeypatch.setenv("INGRESS_PORT", "18099")
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    return tmp_path


def test_the_control_plane_watches_a_copy_that_goes_in_the_end(project: Path) -> None:
    shop = containers.Containers((str(project / "compose"),), project / "docker-compose.yml")
    assert shop.port == 18099
    assert shop.mesh.parent.parent == project / "run"
    override = json.loads((shop.mesh.parent / "override.json").read_text())
    assert override == {"services": {"mini-istiod": {"volumes": [f"{shop.mesh}:/mesh:ro"]}}}
    # Known from the beginning: writing the same again changes nothing, so nobody waits for it.
    assert shop.watched.write("security.yaml", cluster.load(SAMPLE / "security/strict.yaml")) == ()
    changed = shop.watched.write("security.yaml", cluster.load(SAMPLE / "security/permissive.yaml"))
    assert changed == (("PeerAuthentication", "istio-system", "default"),)
    assert "STRICT" in (project / "mesh/security.yaml").read_text()
    shop.close()
    assert not shop.mesh.parent.exists()
    (asked,) = (project / "compose.asked").read_text().splitlines()
    assert asked.startswith(f"18099 --project-directory {project} -p mini-istiod-demo -f ")
    assert asked.endswith(" down --volumes --timeout 1")


def test_what_compose_says_when_it_fails_is_told(project: Path) -> None:
    (project / "compose.answer").unlink()
    shop = containers.Containers((str(project / "compose"),), project / "docker-compose.yml")
    with pytest.raises(ProgramFailed, match=r"ended with status 1:\n.*compose\.answer"):
        shop.up()
    with pytest.raises(ProgramFailed):
        shop.close()
    assert not shop.mesh.parent.exists()


def test_the_command_goes_where_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    went: list[object] = []
    found = [Go(Way.ROOT), Go(Way.COMPOSE, ("because",), ("docker", "compose")), Go(Way.ONE_USER)]
    monkeypatch.setattr(demo, "explore", lambda wish: found.pop(0))
    monkeypatch.setattr(demo.demo_pods, "run", lambda given: went.append("pods") or 0)
    monkeypatch.setattr(demo.demo_compose, "run", lambda given, *more: went.append(more[0]) or 7)
    monkeypatch.setattr(os, "execv", lambda path, words: went.append(words[2:4]))
    wanted = demo.argparse.ArgumentParser()
    demo.add_arguments(wanted)
    given = wanted.parse_args(["--steps", "back"])
    assert [demo.run(given) for _ in range(2)] == [0, 7]
    assert went == ["pods", ("docker", "compose")]
    assert capsys.readouterr().out.splitlines() == [
        f"on {Way.ROOT.value}",
        "no network namespaces: because",
        f"on {Way.COMPOSE.value}",
    ]
    demo.run(given)
    assert went[2] == ["controlplane.lab.namespace", "one-user"]


def test_options_survive_the_way_into_a_namespace() -> None:
    for words in (("--sotw", "--keep"), ("--steps", "back,strict", "--requests", "7"), ()):
        before = options(*words)
        assert options(*demo.words(before)) == before
