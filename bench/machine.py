"""Where the figures were made, said neutrally: cores, memory, versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = ("grpcio", "protobuf", "uvloop", "xds-protos", "aiohttp", "prometheus-client")


def describe() -> dict[str, object]:
    """What a reader needs to compare, and how busy the machine was with other things."""
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory["MemTotal"].split()[0]) / 2**20),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "load": os.getloadavg()[0],
    }
