"""Root without root: a command in a user namespace of its own, where the caller counts as root.

    python -m controlplane.lab.namespace {subuids,one-user} COMMAND...

Users, mounts and process ids are new; pods make network namespaces of their own inside.  `subuids` maps the
users of pods to subordinate ones of the caller, by newuidmap(1); in `one-user` there is the caller alone, and
needs nobody's help.  /run is an empty folder in memory.  When the command ends, or whoever started it, the
kernel ends everything inside and forgets the rest: the first process inside is an init, and dies with its
parent.  Status 125 and one line "namespace: STAGE: ERRNO: text": the kernel refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from controlplane.lab import syscalls
from controlplane.lab.users import SEPARATE

SUBUIDS, ONE_USER = "subuids", "one-user"
REFUSED = 125
OUTSIDE = "MINI_ISTIOD_NAMESPACE_OF"
"""In the environment of the command: the process id, outside, of a process that lives in its namespaces."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WANTED = (SEPARATE.proxy, SEPARATE.app)
_OF_LABS = ("mini-istiod", "netns", "xtables.lock")


class Refused(Exception):
    """The kernel, or newuidmap, said no; `stage` is one of "users", "map" and "mount"."""

    def __init__(self, stage: str, error: OSError) -> None:
        super().__init__(f"{stage}: {errno.errorcode.get(error.errno or 0, 'unknown')}: {error.strerror}")


def command_line(mode: str, command: Sequence[str]) -> list[str]:
    """What runs `command` in a namespace."""
    return [sys.executable, "-m", "controlplane.lab.namespace", mode, *command]


def subordinate(table: str, name: str, uid: int) -> int | None:
    """The first of enough ids that /etc/subuid (its text: `table`) gives to this user, None without.

    Rows are "name or uid:first:count".
    """
    for row in table.splitlines():
        owner, _, numbers = row.strip().partition(":")
        first, _, count = numbers.partition(":")
        if owner in (name, str(uid)) and first.isdigit() and count.isdigit() and int(count) >= len(_WANTED):
            return int(first)
    return None


def id_map(own: int, first: int | None) -> tuple[tuple[int, int, int], ...]:
    """Rows of (inside, outside, count): the caller is root; pods' users are subordinate ones from `first`."""
    rows = [(0, own, 1)]
    if first is not None:
        rows += [(inside, first + number, 1) for number, inside in enumerate(_WANTED)]
    return tuple(rows)


def _enter(mode: str) -> None:
    """Take this process into new namespaces and be root there; its children are in the new process ids."""
    new = syscalls.NEW_USERS | syscalls.NEW_MOUNTS | syscalls.NEW_PIDS
    uid, gid = os.geteuid(), os.getegid()
    if mode == SUBUIDS:
        _enter_with_subordinates(new, uid, gid)
        return
    _unshare(new)
    try:
        # Without help only a process that gave up setgroups(2) may map its group.
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        for name, own in (("uid_map", uid), ("gid_map", gid)):
            (row,) = id_map(own, None)
            Path(f"/proc/self/{name}").write_text(" ".join(map(str, row)), encoding="ascii")
    except OSError as error:
        raise Refused("map", error) from error


def _enter_with_subordinates(new: int, uid: int, gid: int) -> None:
    # The maps are written from outside, by programs that may: so somebody has to stay there.
    commands = [
        _map_command("newuidmap", Path("/etc/subuid"), uid, uid),
        _map_command("newgidmap", Path("/etc/subgid"), uid, gid),
    ]
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        # Nothing to read: the kernel refused, and there is nothing to map.
        mapped = bool(os.read(ready, 1)) and all(subprocess.call(words) == 0 for words in commands)
        os._exit(0 if mapped else 1)
    os.close(ready)
    try:
        _unshare(new)
        os.write(go, b"1")
    finally:
        os.close(go)
        _, status = os.waitpid(child, 0)
    if status != 0:
        raise Refused("map", OSError(errno.EPERM, "newuidmap or newgidmap failed"))


def _map_command(program: str, file: Path, uid: int, own: int) -> list[str]:
    """What maps the ids of this process: root to `own`, those of pods to what `file` gives to `uid`."""
    found = shutil.which(program)
    if found is None:
        raise Refused("map", OSError(errno.ENOENT, f"{program} is not installed"))
    try:
        first = subordinate(file.read_text(encoding="utf-8"), pwd.getpwuid(uid).pw_name, uid)
    except (OSError, KeyError) as error:
        raise Refused("map", OSError(errno.ENOENT, f"{file} cannot be used: {error}")) from error
    if first is None:
        raise Refused("map", OSError(errno.EPERM, f"{file} gives nothing to this user"))
    return [found, str(os.getpid()), *(str(number) for row in id_map(own, first) for number in row)]


def _unshare(flags: int) -> None:
    try:
        syscalls.unshare(flags)
    except OSError as error:
        raise Refused("users", error) from error


def _furnish() -> None:
    """Mounts that nobody else sees: process ids as they are here, and a /run of our own."""
    try:
        syscalls.mount("none", Path("/"), syscalls.RECURSIVE | syscalls.PRIVATE)
        syscalls.mount("proc", Path("/proc"), syscalls.NOSUID | syscalls.NODEV | syscalls.NOEXEC, "proc")
        before = os.open("/run", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.mount("tmpfs", Path("/run"), syscalls.NOSUID | syscalls.NODEV, "tmpfs", "mode=755")
    except OSError as error:
        raise Refused("mount", error) from error
    for entry in sorted(Path(f"/proc/self/fd/{before}").iterdir()):
        # Some systems have their programs there, or a user's disk.  What may not be brought along is
        # not ours to read; what labs have there belongs to labs outside.
        if not entry.name.startswith(_OF_LABS):
            with contextlib.suppress(OSError):
                _bring(entry, Path("/run", entry.name))
    os.close(before)


def _bring(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():
        target.mkdir()
        syscalls.mount(str(source), target, syscalls.BIND | syscalls.RECURSIVE)


def _attend(child: int) -> int:
    """Pass signals on to `child` and bury everybody's dead, until it ends; returns its exit status."""

    def pass_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _as_init(command: list[str]) -> int:
    syscalls.die_with_parent(signal.SIGKILL)
    # A session of its own: a terminal's Ctrl-C reaches the one outside, which passes it on, once.
    os.setsid()
    _furnish()
    child = os.fork()
    if child == 0:
        _become(command)
    return _attend(child)


def _become(command: list[str]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"namespace: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def main(words: Sequence[str]) -> int:
    """Run a command in a namespace; returns its exit status, 128 + n when signal n ended it."""
    mode, command = words[0], list(words[1:])
    os.environ[OUTSIDE] = str(os.getpid())
    # Held back until there is somebody to pass them on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        _enter(mode)
        child = os.fork()
        if child == 0:
            os._exit(_guarded_init(command))
        return _attend(child)
    except Refused as error:
        print(f"namespace: {error}", file=sys.stderr)
        return REFUSED


def _guarded_init(command: list[str]) -> int:
    # A fork never returns into its parent's story.
    try:
        return _as_init(command)
    except Refused as error:
        print(f"namespace: {error}", file=sys.stderr, flush=True)
        return REFUSED


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in (SUBUIDS, ONE_USER):
        sys.exit("usage: python -m controlplane.lab.namespace {subuids,one-user} COMMAND...")
    sys.exit(main(sys.argv[1:]))
