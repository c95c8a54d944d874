"""What a server under test is told, whichever it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds; None leaves a server its own default.

    `push_log` is kept by mini-istiod only.  `folder` is where logs go (None: beside the watched directory).
    `arguments` are added to the command line of the server, `env` is its environment.
    """

    debounce_after: float = 0.1
    debounce_max: float = 10.0
    eds_debounce: bool = True
    push_throttle: int | None = None
    max_requests_per_second: float | None = None
    push_log: Path | None = None
    folder: Path | None = None
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def folder_for(self, config_dir: Path, name: str) -> Path:
        """The folder of the server called `name`; made when it is not there."""
        folder = (self.folder or config_dir.parent / name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def milliseconds(seconds: float) -> str:
    """As both Go and we read a duration: "100ms"."""
    return f"{seconds * 1000:g}ms"
