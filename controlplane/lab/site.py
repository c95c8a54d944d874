"""A lab's place on the machine: a number, a directory, processes, and the duty to leave nothing behind.

`claim` takes the first free number; every name the lab uses (namespaces, directory) carries it, so two
labs never meet.  The lock of the number is held by the owner's open file and falls with it, however
the owner ends; a number whose lock is free but whose things exist is what a crash left, and the next
`claim` clears it away first.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import ledger, netns, syscalls, tools

_LARGEST = 64
_GRACE = 3.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True, slots=True)
class Place:
    """Where labs live: the parent of their directories, and what their namespaces' names start with.

    One prefix belongs to one root: the locks that tell living labs from dead ones are in the root.
    """

    root: Path = Path("/run/mini-istiod")
    prefix: str = "mini-istiod-"


DEFAULT_PLACE = Place()


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start: in a network namespace (None: the caller's), as a user (None: the caller).

    `log` receives standard output and error (None: standard output is a pipe to the caller).  `resolver` is
    a file that it sees in place of /etc/resolv.conf.
    """

    name: str
    argv: tuple[str, ...]
    namespace: str | None = None
    uid: int | None = None
    log: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    resolver: Path | None = None


class Site:
    """A claimed number.  A context manager: leaving it ends the processes and clears everything."""

    def __init__(self, place: Place, number: int, lock: int) -> None:
        self.number = number
        self.directory = place.root / f"lab{number}"
        self._place = place
        self._lock = lock
        self._children: list[subprocess.Popen[str]] = []

    def namespace(self, name: str) -> str:
        """The name of this lab's network namespace called `name`."""
        return f"{_stem(self._place, self.number)}{name}"

    def start(self, command: Command) -> subprocess.Popen[str]:
        """Start a process and note it in the ledger.  EnvironmentUnfit when it cannot be executed."""
        child = _spawn(command)
        self._children.append(child)
        entry = ledger.entry_of(child.pid, command.name)
        if entry is not None:
            ledger.append(_record(self._place, self.number), entry)
        return child

    def close(self, keep_files: bool = False) -> None:
        """End the processes, remove the namespaces and, unless told otherwise, the files."""
        with _exclusive(self._place):
            _clear(self._place, self.number, keep_files)
            os.close(self._lock)
        for child in self._children:
            child.wait()
            if child.stdout is not None:
                child.stdout.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def claim(place: Place) -> Site:
    """Clear what dead labs left, then take a free number.  EnvironmentUnfit unless root."""
    require_root()
    place.root.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _exclusive(place):
        _sweep(place)
        for number in range(1, _LARGEST + 1):
            lock = _try_lock(place, number)
            if lock is not None:
                site = Site(place, number, lock)
                site.directory.mkdir(mode=0o755)
                return site
    raise EnvironmentUnfit(f"{_LARGEST} labs are running: end one")


def require_root() -> None:
    """EnvironmentUnfit unless this process is root, of the machine or of a user namespace."""
    if os.geteuid() != 0:
        raise EnvironmentUnfit(
            "the lab makes network namespaces and redirect rules:"
            " run it as root, or in a user namespace (docs/lab.md)"
        )


def sweep(place: Place) -> tuple[int, ...]:
    """Clear what labs left whose owner is dead; returns their numbers."""
    if not place.root.is_dir():
        return ()
    with _exclusive(place):
        return _sweep(place)


def _sweep(place: Place) -> tuple[int, ...]:
    cleared = []
    for number in _known(place):
        lock = _try_lock(place, number)
        if lock is None:
            continue
        try:
            _clear(place, number, keep_files=False)
        finally:
            os.close(lock)
        cleared.append(number)
    return tuple(cleared)


def _spawn(command: Command) -> subprocess.Popen[str]:
    # Whoever is that user already need not become it, and where there is only one user may not try.
    uid = None if command.uid == os.geteuid() else command.uid

    # A session of its own, so that Ctrl-C reaches only the lab, which then ends them in order.
    def run(executable: str | None, out: int, kept: tuple[int, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command.argv,
            executable=executable,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=None if command.log is None else subprocess.STDOUT,
            env=dict(command.env),
            cwd="/",
            text=True,
            pass_fds=kept,
            start_new_session=True,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )

    try:
        with _output(command) as out, _program(command) as (executable, kept):
            if command.namespace is None:
                return run(executable, out, kept)

            def enter() -> subprocess.Popen[str]:
                if command.resolver is not None:
                    _resolve_by(command.resolver)
                return run(executable, out, kept)

            return netns.inside(command.namespace, enter)
    except OSError as error:
        raise EnvironmentUnfit(f"cannot start {command.name} ({command.argv[0]}): {error}") from error


def _resolve_by(file: Path) -> None:
    """Let this thread, and what it starts, see a file of its own as /etc/resolv.conf."""
    syscalls.unshare(syscalls.NEW_MOUNTS)
    # What the lab mounts and takes away afterwards is seen here too; what happens here stays here.
    syscalls.mount("none", Path("/"), syscalls.SLAVE | syscalls.RECURSIVE)
    syscalls.mount(str(file), Path("/etc/resolv.conf"), syscalls.BIND)


@contextmanager
def _output(command: Command) -> Iterator[int]:
    if command.log is None:
        yield subprocess.PIPE
        return
    descriptor = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if command.uid is not None:
            # Envoy opens /dev/stdout once more for its access log, as the user it runs as.
            os.fchown(descriptor, command.uid, command.uid)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _program(command: Command) -> Iterator[tuple[str | None, tuple[int, ...]]]:
    """The file to execute if it is not argv[0], and the descriptors that have to stay open for it."""
    if command.uid is None or tools.reachable(Path(command.argv[0])):
        yield None, ()
        return
    # The way to it leads through a folder that only root may enter, often a home directory; an open
    # descriptor needs no way.
    descriptor = os.open(command.argv[0], os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _clear(place: Place, number: int, keep_files: bool) -> None:
    namespaces = netns.names(_stem(place, number))
    # What runs inside the lab's own namespaces belongs to it, even if a crash came before the note.
    strays = (ledger.entry_of(pid, "unrecorded") for pid in netns.processes(namespaces))
    recorded = ledger.read(_record(place, number))
    ours = {(entry.pid, entry.start): entry for entry in (*filter(None, strays), *recorded)}
    ledger.end(ours.values(), _GRACE)
    for name in namespaces:
        netns.remove(name)
    _record(place, number).unlink(missing_ok=True)
    if not keep_files:
        shutil.rmtree(place.root / f"lab{number}", ignore_errors=True)
        (place.root / f"lab{number}.lock").unlink(missing_ok=True)


def _known(place: Place) -> tuple[int, ...]:
    names = [entry.name for entry in place.root.iterdir()]
    names += [name.removeprefix(place.prefix) for name in netns.names(place.prefix)]
    return tuple(
        sorted({int(found[1]) for name in names if (found := re.match(r"lab(\d+)(?:[.-]|$)", name))})
    )


def _stem(place: Place, number: int) -> str:
    return f"{place.prefix}lab{number}-"


def _record(place: Place, number: int) -> Path:
    return place.root / f"lab{number}.processes"


def _try_lock(place: Place, number: int) -> int | None:
    path = place.root / f"lab{number}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _exclusive(place: Place) -> Iterator[None]:
    # Held while numbers are taken, swept or given back; lock files come and go only under it.
    descriptor = os.open(place.root / "labs.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
