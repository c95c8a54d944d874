"""Where a process has its memory: what the system says, what kinds of objects there are, who made them."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

_MB = 2**20


def start(depth: int) -> None:
    """Trace allocations from now on; costs time and memory, so never in a run that measures those."""
    tracemalloc.start(depth)


def sizes(process: str = "self") -> dict[str, float]:
    """MB: resident now, at most, and how much of it is private and anonymous (heap, not code)."""
    status = Path(f"/proc/{process}/status").read_text()
    found = dict(line.split(":", 1) for line in status.splitlines())
    names = {"rss": "VmRSS", "peak": "VmHWM", "anonymous": "RssAnon", "file": "RssFile"}
    return {name: int(found[key].split()[0]) / 1024 for name, key in names.items()}


def census() -> dict[str, Any]:
    """MB by type of object; with tracing, MB by package as well."""
    gc.unfreeze()
    gc.collect()
    return {"types": _by_type(), "packages": _by_package(), "python": _traced(), **sizes()}


def _by_type() -> list[tuple[str, int, float]]:
    """The largest: (type, how many, MB).  What the collector does not track is found by its owner."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    seen: set[int] = set()
    tracked = gc.get_objects()
    mine = {id(tracked), id(seen), id(count), id(size)}
    for owner in tracked:
        if id(owner) in mine:
            continue
        for one in (owner, *(leaf for leaf in gc.get_referents(owner) if not gc.is_tracked(leaf))):
            if id(one) in seen:
                continue
            seen.add(id(one))
            kind = type(one)
            name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
            count[name] += 1
            size[name] += sys.getsizeof(one)
    return [(name, count[name], total / _MB) for name, total in size.most_common(25)]


def _by_package() -> dict[str, float]:
    if not tracemalloc.is_tracing():
        return {}
    found: Counter[str] = Counter()
    for stat in tracemalloc.take_snapshot().statistics("filename"):
        found[_package(stat.traceback[0].filename)] += stat.size
    return {name: size / _MB for name, size in found.most_common(25)}


def _traced() -> float:
    return tracemalloc.get_traced_memory()[0] / _MB if tracemalloc.is_tracing() else 0.0


def _package(filename: str) -> str:
    parts = Path(filename).parts
    if "controlplane" in parts:
        inner = parts[parts.index("controlplane") :]
        return "/".join(inner[:2])
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return "standard library"
