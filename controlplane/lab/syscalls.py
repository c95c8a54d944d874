"""The few system calls about namespaces that Python 3.11 has no function for.

Each raises OSError with the kernel's reason.  They act on the calling thread, as the kernel does.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEW_MOUNTS, NEW_USERS, NEW_PIDS, NEW_NETWORK = 0x00020000, 0x10000000, 0x20000000, 0x40000000
"""What `unshare` makes anew."""

NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE, SLAVE, SHARED = (
    *(2, 4, 8, 4096, 16384),
    *(1 << 18, 1 << 19, 1 << 20),
)
"""Flags of `mount`."""

_PR_SET_PDEATHSIG = 1
_MNT_DETACH = 2


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; new users need a process with a single thread."""
    _check(_libc().unshare(flags))


def enter_network(descriptor: int) -> None:
    """Let the calling thread enter the network namespace that is open as `descriptor`."""
    _check(_libc().setns(descriptor, NEW_NETWORK))


def mount(source: str, target: Path, flags: int, kind: str = "none", options: str = "") -> None:
    """As mount(2); `kind` is the type of the file system, `options` are its own ("mode=755")."""
    data = os.fsencode(options) if options else None
    arguments = (os.fsencode(source), os.fsencode(target), os.fsencode(kind), ctypes.c_ulong(flags), data)
    _check(_libc().mount(*arguments))


def forget_mount(target: Path) -> None:
    """Take away what is mounted at `target` once nobody uses it; nothing there is fine."""
    _libc().umount2(os.fsencode(target), _MNT_DETACH)


def die_with_parent(number: int) -> None:
    """Let the kernel send this signal to the calling process when its parent ends, however it ends."""
    _check(_libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0))


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    # The running program's own C library; os.setns and os.unshare exist from Python 3.12 only.
    return ctypes.CDLL(None, use_errno=True)
