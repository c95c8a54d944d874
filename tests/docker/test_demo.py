"""The demo where there are no network namespaces: on real containers, with images that are there already."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from controlplane.lab import demo_compose, facts
from tests.support import daemon
from tests.unit.lab.test_demo import options

_OWN = re.compile(r"^(\s*image: )(mini-istiod|bookstore)$", re.MULTILINE)
_ENVOY = "envoyproxy/envoy:v1.40.0"


def tag() -> str:
    """The tag under which both images of the project are there, "" for none."""
    there = daemon.call("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    for one in ("latest", "e2e"):
        if {f"mini-istiod:{one}", f"bookstore:{one}", _ENVOY} <= set(there):
            return one
    return ""


def unfit() -> str:
    """Why this cannot run here, or nothing."""
    missing = daemon.missing() or facts.find_compose(os.environ).why
    return missing or ("" if tag() else "the images of docker-compose.yml are not there (make image)")


REASON = unfit()
pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(REASON), reason=f"tests with containers: {REASON}")]


def test_steps_on_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = f"demo{os.getpid()}"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", project)
    monkeypatch.delenv("INGRESS_PORT", raising=False)
    file = tmp_path / "docker-compose.yml"
    file.write_text(_OWN.sub(rf"\1\2:{tag()}", facts.COMPOSE_FILE.read_text()))
    # Compose looks for what it could build, although it has no need to.
    (tmp_path / "controlplane/lab/samples/bookstore").mkdir(parents=True)
    shutil.copytree(facts.COMPOSE_FILE.parent / "mesh", tmp_path / "mesh")
    before = {one.name: one.read_text() for one in (tmp_path / "mesh").iterdir()}

    steps = options("--requests", "60", "--steps", "strict,authorization,canary-50-50")
    status = demo_compose.run(steps, facts.find_compose(os.environ).command, file)

    out = capsys.readouterr().out
    assert status == 0, out
    assert out.splitlines()[-1] == "demo: PASS"
    assert "  an outsider: refused 6 (100.0%)" in out
    assert "  the client: 403 6 (100.0%)" in out
    assert re.search(r"everybody: reviews v1 \d+ \(.*\), reviews v2 \d+", out)
    assert "mutual TLS: ingress → productpage 60, productpage → details 60, productpage → reviews 60" in out
    assert re.search(r"pushed VirtualService default/reviews: 6 of 6 proxies in [\d.]+ ms", out)
    # Nothing stays, and the folder of the checkout is as it was.
    label = f"label=com.docker.compose.project={project}"
    assert daemon.call("ps", "-aq", "--filter", label) == ""
    assert daemon.call("volume", "ls", "-q", "--filter", label) == ""
    assert daemon.call("network", "ls", "-q", "--filter", label) == ""
    assert {one.name: one.read_text() for one in (tmp_path / "mesh").iterdir()} == before
    assert list((tmp_path / "run").iterdir()) == []
