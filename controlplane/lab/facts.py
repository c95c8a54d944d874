"""Asking a machine what the demo can have of it: small, real trials that leave nothing behind."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import namespace, tools
from controlplane.lab.ways import (
    Compose,
    Facts,
    Go,
    LookForCompose,
    Refusal,
    Switches,
    Try,
    Way,
    Wish,
    next_step,
)

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = CHECKOUT / "docker-compose.yml"

_MODES = {Way.SUBUIDS: namespace.SUBUIDS, Way.ONE_USER: namespace.ONE_USER}
_TRIAL = (sys.executable, "-m", "controlplane.lab.trial")
_PATIENCE = 60.0  # seconds for a trial, and for a daemon to answer
_COMMANDS = (("docker", "compose"), ("docker-compose",))
"""Compose as a plugin, and version 1 (as Debian has it), or what stands in for that."""


def explore(wish: Wish) -> Go:
    """Find out what is needed to decide, and decide.  NoWay when the demo cannot run here."""
    facts = look(os.environ)
    while True:
        step = next_step(facts, wish)
        match step:
            case Go():
                return step
            case Try(way):
                facts = replace(facts, tried=(*facts.tried, (way, attempt(way))))
            case LookForCompose():
                facts = replace(facts, compose=find_compose(os.environ))


def look(env: Mapping[str, str]) -> Facts:
    """What can be known without trying."""
    return Facts(
        platform.system(),
        os.geteuid() == 0,
        missing=_missing(env),
        no_subuids=no_subuids(env),
        switches=switches(Path("/proc")),
    )


def attempt(way: Way) -> Refusal | None:
    """Make a pod this way and take it away again; None when that went well."""
    command = inside(way, _TRIAL)
    try:
        result = _ask(command)
    except subprocess.TimeoutExpired:
        return Refusal("pods", f"a trial did not end within {_PATIENCE:.0f} s")
    if result.returncode == 0:
        return None
    # The last line that the launcher or the trial wrote: "namespace: STAGE: reason", or a reason.
    last = (result.stderr.strip().splitlines() or [f"ended with status {result.returncode}"])[-1]
    if result.returncode == namespace.REFUSED:
        stage, _, text = last.removeprefix("namespace: ").partition(": ")
        return Refusal(stage, text)
    return Refusal("pods", last)


def inside(way: Way, command: tuple[str, ...]) -> list[str]:
    """The command line that runs a command where pods can be made."""
    mode = _MODES.get(way)
    return list(command) if mode is None else namespace.command_line(mode, command)


def find_compose(env: Mapping[str, str]) -> Compose:
    """A compose command with a daemon behind it."""
    path = env.get("PATH", "")
    if not COMPOSE_FILE.is_file():
        return Compose(why=f"{COMPOSE_FILE} is not there: run from a checkout of the project")
    found = next(compose_commands(path), None)
    if found is None:
        return Compose(why="neither `docker compose` nor docker-compose is installed")
    problem = _daemon_problem(path)
    return Compose(why=problem) if problem else Compose(found)


def compose_commands(path: str) -> Iterator[tuple[str, ...]]:
    """The compose commands that are installed in the places of `path`, the newer first."""
    yield from (words for words in _COMMANDS if _runs([*words, "version"], path))


def _runs(words: list[str], path: str) -> bool:
    program = shutil.which(words[0], path=path)
    if program is None:
        return False
    try:
        return _ask([program, *words[1:]]).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
    )


def _daemon_problem(path: str) -> str:
    docker = shutil.which("docker", path=path)
    if docker is None:
        return "docker is not installed"
    ask = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        result = _ask(ask)
    except subprocess.TimeoutExpired:
        return f"the Docker daemon does not answer within {_PATIENCE:.0f} s"
    if result.returncode == 0 and result.stdout.strip():
        return ""
    said = (result.stderr.strip().splitlines() or ["no answer"])[-1]
    return f"the Docker daemon does not answer: {said}"


def _missing(env: Mapping[str, str]) -> tuple[str, ...]:
    sentences = []
    for find in (tools.find_envoy, tools.find_iptables_restore):
        try:
            find(env)
        except EnvironmentUnfit as error:
            sentences.append(str(error))
    return tuple(sentences)


def no_subuids(env: Mapping[str, str]) -> str:
    absent = [
        name for name in ("newuidmap", "newgidmap") if shutil.which(name, path=env.get("PATH", "")) is None
    ]
    if absent:
        return f"{' and '.join(absent)} not installed (on Debian: uidmap)"
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid} has no name"
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if namespace.subordinate(text, name, uid) is None:
            return f"{file} gives nothing to {name}"
    return ""


def switches(proc: Path) -> Switches:
    kernel = proc / "sys/kernel"
    return Switches(
        most=_number(proc / "sys/user/max_user_namespaces"),
        clone=_number(kernel / "unprivileged_userns_clone"),
        apparmor=_number(kernel / "apparmor_restrict_unprivileged_userns"),
        filtered=_filtered(proc / "self/status"),
    )


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _filtered(status: Path) -> bool:
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.split() == ["Seccomp:", "2"] for line in lines)
