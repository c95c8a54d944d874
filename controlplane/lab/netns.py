"""Network namespaces by name, entered without a fork.

A namespace belongs to a thread, not to a process (setns(2)): whoever wants to do something inside one
does it in a thread of its own that enters, works and ends.  Sockets made there stay there for life,
and so do processes started there.  Names live in /run/netns, as iproute2 keeps them, so that
`ip netns exec NAME …` and `nsenter --net=/run/netns/NAME …` work too.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import syscalls

T = TypeVar("T")

NAMES = Path("/run/netns")


def create(name: str) -> None:
    """Make the namespace `name`; its loopback is down.  EnvironmentUnfit when the kernel refuses."""
    _share_names()
    path = NAMES / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    try:
        # The mount holds the namespace once the thread that made it is gone.
        _in_thread(lambda: _unshare_onto(path))
    except OSError as error:
        path.unlink()
        raise EnvironmentUnfit(
            f"cannot make a network namespace ({error}): run as root with CAP_SYS_ADMIN"
        ) from error


def remove(name: str) -> None:
    """Forget `name`; the kernel frees the namespace with its last process.  Absent is fine."""
    path = NAMES / name
    syscalls.forget_mount(path)
    path.unlink(missing_ok=True)


def names(prefix: str) -> tuple[str, ...]:
    """The names that start with `prefix`, sorted."""
    if not NAMES.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in NAMES.iterdir() if entry.name.startswith(prefix)))


def inside(name: str, work: Callable[[], T]) -> T:
    """Run `work` in the namespace `name` and return what it returns, or raise what it raises."""
    descriptor = os.open(NAMES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _in_thread(lambda: _enter(descriptor, work))
    finally:
        os.close(descriptor)


def connect(name: str, host: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection opened inside `name`; the socket is usable from any thread afterwards."""
    return inside(name, lambda: socket.create_connection((host, port), timeout))


def processes(namespaces: tuple[str, ...]) -> tuple[int, ...]:
    """The pids of all processes that run in one of these namespaces, sorted."""
    wanted = {_identity(NAMES / name) for name in namespaces} - {None}
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return tuple(sorted(pid for pid in pids if _identity(Path(f"/proc/{pid}/ns/net")) in wanted))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:  # ended meanwhile, or a name whose mount is gone
        return None
    return found.st_dev, found.st_ino


def _in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, whatever it is
            failures.append(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _share_names() -> None:
    # Mounted shared onto itself, so that a name made here is seen by other mount namespaces
    # (ip-netns(8) does the same).
    NAMES.mkdir(mode=0o755, exist_ok=True)
    try:
        syscalls.mount("none", NAMES, syscalls.SHARED | syscalls.RECURSIVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise EnvironmentUnfit(
                f"cannot mount {NAMES} ({error}): run as root with CAP_SYS_ADMIN"
            ) from error
        syscalls.mount(str(NAMES), NAMES, syscalls.BIND | syscalls.RECURSIVE)
        syscalls.mount("none", NAMES, syscalls.SHARED | syscalls.RECURSIVE)


def _unshare_onto(path: Path) -> None:
    syscalls.unshare(syscalls.NEW_NETWORK)
    syscalls.mount("/proc/thread-self/ns/net", path, syscalls.BIND)


def _enter(descriptor: int, work: Callable[[], T]) -> T:
    syscalls.enter_network(descriptor)
    return work()
