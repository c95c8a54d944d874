"""Whether docker-compose takes deploy/observability.yml, from wherever it lies.  No daemon is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from controlplane.lab.facts import compose_commands

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = [list(words) for words in compose_commands(os.environ.get("PATH", ""))]
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not COMPOSE, reason="no docker-compose on this machine"),
]


def config(words: list[str], file: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of `file`, run in a folder that has nothing to do with it."""
    return subprocess.run(
        [*words, "-p", "observability", "-f", str(file), "config"],
        cwd=file.parents[1],
        env={"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
def test_it_joins_the_network_that_it_is_told(words: list[str], tmp_path: Path) -> None:
    copied = shutil.copytree(DEPLOY, tmp_path / "copied")
    done = config(words, copied / "observability.yml", MESH_NETWORK="shop_default")
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    network = found["networks"]["default"]
    assert (network["name"], bool(network["external"])) == ("shop_default", True)
    for service in found["services"].values():
        assert _folders(service["volumes"])
        assert all(Path(source).exists() for source in _folders(service["volumes"]))


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
def test_it_says_what_it_has_to_be_told(words: list[str]) -> None:
    done = config(words, DEPLOY / "observability.yml")
    assert done.returncode != 0
    assert "MESH_NETWORK" in done.stderr
    assert "docker network ls" in done.stderr


def _folders(volumes: list[str | dict[str, str]]) -> list[str]:
    """The folders of this machine that are mounted, in the short form of 1.29 and the long one of v2."""
    sources = [one["source"] if isinstance(one, dict) else one.split(":")[0] for one in volumes]
    return [one for one in sources if one.startswith("/")]
