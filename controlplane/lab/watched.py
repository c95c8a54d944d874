"""The hands of a user of the mesh: files in a watched directory, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import cluster, pushes
from controlplane.lab.waiting import wait_until

_TIMEOUT = 20.0  # seconds; longer than Envoy waits for endpoints that never come (15)


class NotAnswered(MiniIstiodError):
    """A change did not reach all proxies in time; the message says which."""


class Watched:
    """Writes the files of the directory `folder`; `traces` asks the control plane for /debug/traces.

    `drafts` is a folder beside it, on the same file system, that nobody watches.
    """

    def __init__(self, folder: Path, drafts: Path, traces: Callable[[], Any]) -> None:
        self._folder = folder
        self._drafts = drafts
        self._traces = traces
        self._written: dict[str, dict[pushes.Target, cluster.Object]] = {}

    def know(self, name: str, objects: Sequence[cluster.Object]) -> None:
        """This file is there already and holds these objects."""
        self._written[name] = {_target(found): found for found in objects}

    def write(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Target, ...]:
        """Replace one file atomically; returns the objects that it changes."""
        after = {_target(found): found for found in objects}
        before = self._written.get(name, {})
        self._written[name] = after
        # Written beside the directory and moved in, so that nobody ever reads half a file.
        draft = self._drafts / name
        draft.write_text(cluster.dump(objects), encoding="utf-8")
        draft.replace(self._folder / name)
        return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))

    def push(self, name: str, objects: Sequence[cluster.Object]) -> tuple[pushes.Push, ...]:
        """Write a file and wait until every proxy has answered all of it.  NotAnswered if one does not."""
        last = max((push.id for push in self._pushes(0.0)), default=0)
        written = time.time()
        targets = self.write(name, objects)
        found: dict[pushes.Target, pushes.Push] = {}

        def arrived() -> bool:
            found.update(pushes.newest(self._pushes(written), last))
            return all(target in found and found[target].complete for target in targets)

        if not wait_until(arrived, _TIMEOUT):
            late = [target for target in targets if target not in found or not found[target].complete]
            states = ", ".join(f"{'/'.join(target)}: {found.get(target, 'no trace')}" for target in late)
            raise NotAnswered(f"not answered by all proxies after {_TIMEOUT:.0f} s: {states}")
        return tuple(found[target] for target in targets)

    def _pushes(self, written: float) -> tuple[pushes.Push, ...]:
        return pushes.parse(self._traces(), written)


def _target(found: cluster.Object) -> pushes.Target:
    meta = found["metadata"]
    return found["kind"], meta.get("namespace", ""), meta["name"]
