"""How a person reaches what lives in the namespaces of this process, if it has some of its own.

Started by controlplane.lab.namespace, the lab is in a mount namespace: its files and names are nobody
else's, and go with it.  The kernel shows them under the process id that the namespace is known by outside.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from controlplane.lab.namespace import OUTSIDE

_TELLING = ("*.log", "bootstrap.json", "config/*.yaml")


def path(inside: Path, env: Mapping[str, str]) -> Path:
    """Where this file is found from outside."""
    process = env.get(OUTSIDE)
    return inside if process is None else Path(f"/proc/{process}/root", *inside.parts[1:])


def shell(netns: str, env: Mapping[str, str]) -> str:
    """The command that opens a shell in a pod's network namespace."""
    process, enter = env.get(OUTSIDE), f"nsenter --net=/run/netns/{netns}"
    if process is None:
        return enter
    return f"nsenter --target {process} --user --mount --preserve-credentials {enter}"


def save(directory: Path, env: Mapping[str, str]) -> Path:
    """What tells why something went wrong, at a place that outlives the namespace; keys stay behind."""
    if OUTSIDE not in env:
        return directory
    kept = Path(tempfile.mkdtemp(prefix="mini-istiod-demo-"))
    for pattern in _TELLING:
        for file in sorted(directory.rglob(pattern)):
            target = kept / file.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return kept
