"""A Docker daemon: the one that answers, or one of our own for as long as the tests take.

Our own has its own folders, socket and process id beside whatever else is installed.  A daemon changes
the machine's packet filter when it starts (it forbids forwarding, for one) and leaves that behind when it
ends; so what was there before is put back.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from controlplane.lab.programs import ProgramFailed, run
from e2e.compose.machine import CACHE, Impossible

# A daemon beside others on the same machine begins in half a second; on a cold disk it takes longer.
_START_SECONDS = 60.0
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
)
_OURS = re.compile(r"DOCKER|docker0|\bbr-[0-9a-f]{12}\b")


def answering() -> str:
    """The version of the daemon that the `docker` command reaches, "" when none answers."""
    version, _ = _asked()
    return version


def _asked() -> tuple[str, str]:
    """(version, "") of the daemon, or ("", why there is none)."""
    try:
        return run("docker", "version", "--format", "{{.Server.Version}}", timeout=20).strip(), ""
    except (ProgramFailed, FileNotFoundError) as error:
        said = getattr(error, "output", "").strip().splitlines()
        return "", said[-1] if said else "it takes too long"


@contextmanager
def docker_daemon() -> Iterator[str]:
    """A daemon that answers; yields words that say which.  DOCKER_HOST is set while ours runs.

    Impossible: none answers and none can be started here.
    """
    if shutil.which("docker") is None:
        raise Impossible("docker is not installed; on Debian: apt-get install docker.io")
    version, why_not = _asked()
    if version:
        yield f"Docker {version}, which was running"
        return
    if os.geteuid() != 0:
        raise Impossible(f"no Docker daemon answers ({why_not}), and only root can start one")
    # Ours takes the interface docker0 away when it starts: from another one, too, which then cannot go on.
    if os.environ.get("DOCKER_HOST") or _runs("dockerd"):
        where = os.environ.get("DOCKER_HOST") or "its usual socket"
        raise Impossible(f"the Docker daemon at {where} does not answer ({why_not}); see that it does")
    with _own_daemon() as host:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = host
        try:
            yield f"Docker {answering()}, started for this run"
        finally:
            if before is None:
                del os.environ["DOCKER_HOST"]
            else:
                os.environ["DOCKER_HOST"] = before


def _runs(program: str) -> bool:
    """Whether any process of this machine runs that program."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == program:
                return True
        except OSError:
            continue  # it has ended meanwhile
    return False


@contextmanager
def _own_daemon() -> Iterator[str]:
    if shutil.which("dockerd") is None:
        raise Impossible("no Docker daemon answers, and dockerd is not installed; on Debian: docker.io")
    with ExitStack() as stack:
        stack.enter_context(_packet_filter_kept())
        # The path of a socket has 108 bytes at most; a checkout may lie anywhere.
        state = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mini-istiod-docker-", dir="/run"))
        )
        CACHE.mkdir(parents=True, exist_ok=True)
        log = stack.enter_context((CACHE / "dockerd.log").open("w+"))
        process = subprocess.Popen(
            # An interrupt from the terminal is for the tests, which then tidy up and need the daemon.
            _command(state),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        stack.callback(_stop, process)
        host = f"unix://{state}/docker.sock"
        _wait_until_it_answers(process, host)
        yield host


def _command(state: Path) -> list[str]:
    return [
        # Its mounts go with it.
        *("unshare", "--mount"),
        "dockerd",
        *("--data-root", str(CACHE / "docker")),
        *("--exec-root", str(state / "exec")),
        *("--pidfile", str(state / "docker.pid")),
        *("--host", f"unix://{state}/docker.sock"),
        # Compose projects have networks of their own, and images are built in the machine's network.
        *("--bridge", "none"),
    ]


def _wait_until_it_answers(process: subprocess.Popen[bytes], host: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            run("docker", "--host", host, "version", timeout=20)
            return
        except ProgramFailed:
            time.sleep(0.2)
    said = (CACHE / "dockerd.log").read_text(errors="replace").rstrip().splitlines()
    raise Impossible(f"dockerd does not start here: {said[-1] if said else 'it says nothing'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _packet_filter_kept() -> Iterator[None]:
    rules = {table: _saved(table) for table in ("filter", "nat")}
    sysctls = {name: path.read_text() for name in _SYSCTLS if (path := Path("/proc/sys", name)).exists()}
    try:
        yield
    finally:
        for table, before in rules.items():
            _restore(table, before)
        for name, value in sysctls.items():
            Path("/proc/sys", name).write_text(value)


def _saved(table: str) -> list[str]:
    return run("iptables-save", "--table", table).splitlines()


def _restore(table: str, before: list[str]) -> None:
    """Take away what Docker added since `before`, and nothing that anybody else did."""
    if any("DOCKER" in line for line in before):
        # Another daemon's: its rules are of the same names, and are not ours to take away.
        return
    policies = {line.split()[0]: line for line in before if line.startswith(":")}
    kept = [
        policies.get(line.split()[0], line) if line.startswith(":") else line
        for line in _saved(table)
        if line in before or not _OURS.search(line)
    ]
    text = "\n".join(line for line in kept if not line.startswith("#")) + "\n"
    subprocess.run(["iptables-restore", "--table", table], input=text, text=True, check=True)
