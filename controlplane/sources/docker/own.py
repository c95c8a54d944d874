"""Which container this program runs in, if any: its project is the mesh, its networks are what it shares.

A container's hostname is its short id, unless somebody chose another one.  Then there are the files that
the engine mounts over /etc/hostname and its like: they lie in a folder named after the container, Docker's
and Podman's.  The names of control groups tell it, too, where they are not hidden.  Whatever is found is
only used when Docker has a container of that id.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path

_MOUNTED = frozenset(("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"))
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_SHORT = re.compile(r"[0-9a-f]{12,64}")


def own_ids(proc: Path = Path("/proc/self")) -> tuple[str, ...]:
    """Ids or beginnings of ids that may be this container's, the likeliest first."""
    files = [_text(proc / name) for name in ("mountinfo", "cgroup", "cpuset")]
    return ids_in(socket.gethostname(), *files)


def ids_in(hostname: str, mountinfo: str, *groups: str) -> tuple[str, ...]:
    """The same from the texts; the hostname last, because it can be chosen."""
    found: dict[str, None] = {}
    for line in mountinfo.splitlines():
        parts = line.split(" ")
        # id, parent, device, what is mounted, where, ...
        if len(parts) > 4 and parts[4] in _MOUNTED:
            found.update(dict.fromkeys(_ID.findall(parts[3])))
    for text in groups:
        # Of nested groups the innermost is this program's.
        found.update(dict.fromkeys(reversed(_ID.findall(text))))
    if _SHORT.fullmatch(hostname):
        found[hostname] = None
    return tuple(found)


def own_container(candidates: Iterable[str], existing: Iterable[str]) -> str:
    """The id among the existing ones that a candidate means, "" for none."""
    ids = tuple(existing)
    for candidate in candidates:
        matching = [one for one in ids if one.startswith(candidate)]
        if len(matching) == 1:
            return matching[0]
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
