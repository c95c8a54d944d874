"""What a machine is asked, and what is made of its answers; programs and /proc are played."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.lab import facts
from controlplane.lab.ways import Compose, Refusal, Way


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A checkout with a compose file, and an environment without programs."""
    file = tmp_path / "docker-compose.yml"
    file.touch()
    monkeypatch.setattr(facts, "COMPOSE_FILE", file)
    return {"PATH": str(tmp_path)}


ANSWERS = '[ "$1" = version ] && echo 28.2'
NO_PLUGIN = f'[ "$1" = compose ] && exit 1; {ANSWERS}'
AWAY = '[ "$1" = version ] && { echo "Cannot connect to the Docker daemon" >&2; exit 1; }'


def test_the_plugin_comes_before_the_old_command(tmp_path: Path, checkout: dict[str, str]) -> None:
    program(tmp_path, "docker-compose", "exit 0")
    program(tmp_path, "docker", 'case "$1" in compose|version) echo 2;; *) exit 1;; esac')
    assert facts.find_compose(checkout) == Compose(("docker", "compose"))
    program(tmp_path, "docker", NO_PLUGIN)
    assert facts.find_compose(checkout) == Compose(("docker-compose",))


def test_what_is_missing_for_containers_is_said(tmp_path: Path, checkout: dict[str, str]) -> None:
    assert facts.find_compose(checkout).why == "neither `docker compose` nor docker-compose is installed"
    program(tmp_path, "docker-compose", "exit 0")
    assert facts.find_compose(checkout).why == "docker is not installed"
    program(tmp_path, "docker", AWAY)
    why = facts.find_compose(checkout).why
    assert why == "the Docker daemon does not answer: Cannot connect to the Docker daemon"
    (tmp_path / "docker-compose.yml").unlink()
    assert "run from a checkout" in facts.find_compose(checkout).why


def test_switches_are_read_and_may_be_absent(tmp_path: Path) -> None:
    nothing = facts.switches(tmp_path)
    assert (nothing.most, nothing.clone, nothing.apparmor, nothing.filtered) == (None, None, None, False)
    files = {
        "sys/user/max_user_namespaces": "96365\n",
        "sys/kernel/unprivileged_userns_clone": "0\n",
        "sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
        "self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = facts.switches(tmp_path)
    assert (found.most, found.clone, found.apparmor, found.filtered) == (96365, 0, 1, True)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", None),
        (
            "echo 'namespace: mount: EACCES: Permission denied' >&2; exit 125",
            Refusal("mount", "EACCES: Permission denied"),
        ),
        ("echo noise >&2; echo 'no bridge' >&2; exit 1", Refusal("pods", "no bridge")),
        ("exit 3", Refusal("pods", "ended with status 3")),
    ],
)
def test_a_trial_ends_well_or_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, expected: Refusal | None
) -> None:
    program(tmp_path, "trial", script)
    monkeypatch.setattr(facts, "inside", lambda way, command: [str(tmp_path / "trial")])
    assert facts.attempt(Way.ONE_USER) == expected


def test_the_way_decides_what_a_command_runs_in() -> None:
    assert facts.inside(Way.ROOT, ("x",)) == ["x"]
    assert facts.inside(Way.ONE_USER, ("x", "y"))[-4:] == ["controlplane.lab.namespace", "one-user", "x", "y"]
    assert "subuids" in facts.inside(Way.SUBUIDS, ("x",))


def test_subordinate_users_take_programs(tmp_path: Path) -> None:
    assert "newuidmap and newgidmap not installed" in facts.no_subuids({"PATH": str(tmp_path)})
    program(tmp_path, "newuidmap", "exit 0")
    assert facts.no_subuids({"PATH": str(tmp_path)}).startswith("newgidmap not installed")
