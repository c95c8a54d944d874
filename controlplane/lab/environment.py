"""Where a run was made: what a reader needs to judge its figures."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from controlplane import __version__

_PACKAGES = ("grpcio", "protobuf", "uvloop", "xds-protos", "asyncinotify")


def describe() -> dict[str, Any]:
    """CPUs, memory, kernel, versions, and how busy the machine was before."""
    facts = _facts(Path("/proc/cpuinfo"))
    memory = _facts(Path("/proc/meminfo"))
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "model": facts.get("model name", platform.machine()),
        "memory_gb": round(int(memory["MemTotal"].split()[0]) / 2**20, 1) if "MemTotal" in memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {"mini-istiod": __version__, **{name: _version(name) for name in _PACKAGES}},
        "load": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def command() -> list[str]:
    """The command line of this process, as it can be given again."""
    name = Path(sys.argv[0]).name
    first = [name] if name != "__main__.py" else ["python", "-m", Path(sys.argv[0]).parent.name]
    return [*first, *sys.argv[1:]]


def _facts(path: Path) -> dict[str, str]:
    """The first value of every "name : value" line; nothing where there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
