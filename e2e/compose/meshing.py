"""The command that is tested, `mini-istioctl compose mesh`, as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

from controlplane.lab.programs import run
from e2e.compose.project import IMAGE


def mesh(file: Path, *options: str) -> str:
    """What the command makes of a compose file: the text of the meshed file."""
    command = str(Path(sys.executable).parent / "mini-istioctl")
    return run(command, "compose", "mesh", "--file", str(file), "--image", IMAGE, *options, cwd=file.parent)


def meshed(file: Path, name: str, *options: str) -> str:
    """Write the meshed file beside its source, as `name`; returns the name."""
    (file.parent / name).write_text(mesh(file, *options))
    return name
