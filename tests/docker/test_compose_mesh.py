"""Whether docker-compose takes what `mini-istioctl compose mesh` writes, of files of every shape.

No daemon is needed.  Running meshes are in e2e/compose.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.ctl.__main__ import main
from controlplane.lab.facts import compose_commands

CASES = Path(__file__).parents[1] / "unit" / "ctl" / "compose" / "cases"
FILES = sorted(one.name for one in CASES.iterdir() if one.is_file())
COMPOSE = [list(words) for words in compose_commands(os.environ.get("PATH", ""))]
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not COMPOSE, reason="no docker-compose on this machine"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files, and what they point to."""
    shutil.copytree(CASES, tmp_path, dirs_exist_ok=True)
    for name in ("api", "web", "common/web", "mesh"):
        (tmp_path / name).mkdir()
    for name in (".env.app", "common/web.env", "app.conf", "db.secret"):
        (tmp_path / name).touch()
    return tmp_path


def understood(words: list[str], folder: Path, name: str) -> dict[str, Any]:
    """The services as Compose understands them, in all profiles."""
    done = subprocess.run(
        [*words, "--profile", "shop", "--profile", "test", "-f", name, "config"],
        cwd=folder,
        env={**os.environ, "REVISION": "1", "HOST": "h"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
@pytest.mark.parametrize("name", FILES)
def test_compose_takes_it(words: list[str], name: str, folder: Path) -> None:
    assert (
        main(["compose", "mesh", "-f", str(folder / name), "-o", str(folder / "mesh.yml"), "--gateway"]) == 0
    )
    found = understood(words, folder, "mesh.yml")
    envoys = {one for one in found if one.endswith("-envoy")}
    assert envoys and {"mini-istiod", "ingressgateway"} <= found.keys()
    for one in envoys:
        app = found[one.removesuffix("-envoy")]
        assert app["network_mode"] == f"service:{one}"
        assert not app.keys() & {"ports", "networks", "expose", "hostname", "links"}
        assert app["depends_on"][one]["condition"] == "service_healthy"


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
@pytest.mark.parametrize("name", sorted(set(FILES) - {"odd.yml", "extends.yml"}))
def test_compose_understands_the_plain_file_as_before(words: list[str], name: str, folder: Path) -> None:
    """Of what was meshed and taken out again, and of the services that no sidecar was for."""
    before = understood(words, folder, name)
    assert main(["compose", "mesh", "-f", str(folder / name), "-o", str(folder / "mesh.yml")]) == 0
    after = understood(words, folder, "mesh.yml")
    for one in before:
        for key in (
            "image",
            "command",
            "entrypoint",
            "environment",
            "healthcheck",
            "volumes",
            "restart",
            "secrets",
        ):
            assert after[one].get(key) == before[one].get(key), f"{one}.{key}"
    assert (
        main(["compose", "mesh", "-f", str(folder / "mesh.yml"), "--remove", "-o", str(folder / "back.yml")])
        == 0
    )
    assert (folder / "back.yml").read_bytes() == (folder / name).read_bytes()
