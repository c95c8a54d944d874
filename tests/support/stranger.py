"""Running the project as somebody who is not root, has no home and owns nothing here.

Tests that are root play that user.  What root keeps in folders that only root may enter (its Python, the
checkout) is shown to the stranger at the same paths, in a mount namespace that goes with it; so are other
tables of users, where a test needs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from controlplane.lab import syscalls, tools

UID = 54321
"""Nobody has this one: it is in no table."""
CHECKOUT = Path(tools.__file__).resolve().parents[2]

_NAME = "stranger"
_TABLES = {
    "passwd": f"{_NAME}:x:{UID}:{UID}::/nonexistent:/bin/sh\n",
    "subuid": f"{_NAME}:700000:65536\n",
    "subgid": f"{_NAME}:700000:65536\n",
}


def program(*words: str) -> list[str]:
    """The command line of a module of this project: `program("controlplane.lab.demo", "--keep")`."""
    return [sys.executable, "-u", "-m", *words]


@contextmanager
def stranger(
    command: Sequence[str], folder: Path, *, subordinate: bool, env: Mapping[str, str] = {}
) -> Iterator[subprocess.Popen[str]]:
    """`command` as a stranger, with subordinate users or without; its output is a pipe.

    `folder` is for files of this call.  The process is killed when the block is left.
    """
    tables = {}
    if subordinate:
        for name, more in _TABLES.items():
            before = Path("/etc", name)
            table = folder / name
            table.write_text((before.read_text() if before.exists() else "") + more)
            tables[str(before)] = str(table)
    order = {"command": list(command), "tables": tables, "shown": _shown()}
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), **env}
    envoy = os.environ.get("ENVOY_BIN")
    argv = [sys.executable, "-m", "tests.support.stranger", json.dumps(order)]
    process = subprocess.Popen(
        argv,
        cwd=CHECKOUT,
        env=variables if envoy is None else {**variables, "ENVOY_BIN": envoy},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def processes() -> tuple[str, ...]:
    """The command lines of what a stranger, or a subordinate user of it, still runs."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            rows = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            uid = int(rows["Uid"].split()[0])
            if (uid == UID or 700000 <= uid < 765536) and "Z" not in rows["State"]:
                found.append((status.parent / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return tuple(sorted(found))


def _shown() -> list[str]:
    """Folders that the stranger needs and cannot enter."""
    envoy = tools.find_envoy(os.environ).resolve()
    wanted = {CHECKOUT, Path(sys.prefix), Path(sys.base_prefix), envoy.parent}
    return sorted(str(path) for path in wanted if not all(_enterable(one) for one in (path, *path.parents)))


def _enterable(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _show(paths: Sequence[str]) -> None:
    """Make these folders reachable: an empty one over each closed one on their way, with them alone in it."""
    held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths}
    for path in paths:
        for folder in reversed(Path(path).parents):
            if folder.exists() and not _enterable(folder):
                syscalls.mount("tmpfs", folder, 0, "tmpfs", "mode=755")
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in paths:
        syscalls.mount(f"/proc/self/fd/{held[path]}", Path(path), syscalls.BIND | syscalls.RECURSIVE)


def main() -> None:
    """Become the stranger and then the command."""
    order = json.loads(sys.argv[1])
    syscalls.unshare(syscalls.NEW_MOUNTS)
    syscalls.mount("none", Path("/"), syscalls.RECURSIVE | syscalls.PRIVATE)
    for place, table in order["tables"].items():
        Path(place).touch()
        syscalls.mount(table, Path(place), syscalls.BIND)
    _show(order["shown"])
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    os.execvp(order["command"][0], order["command"])


if __name__ == "__main__":
    main()
