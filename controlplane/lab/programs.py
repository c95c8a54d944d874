"""Running the programs that a user would run, and saying what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from controlplane.base.errors import MiniIstiodError

_TOLD = 40
"""Lines of what a program said that an error repeats: the last ones, where the reason is."""


class ProgramFailed(MiniIstiodError):
    """A program did not end with 0, or (`status` None) not in time; `output` is all that it said."""

    def __init__(self, command: tuple[str, ...], status: int | None, output: str) -> None:
        how = "took too long" if status is None else f"ended with status {status}"
        told = "\n".join(output.rstrip().splitlines()[-_TOLD:])
        super().__init__(f"`{' '.join(command)}` {how}:\n{told}")
        self.status = status
        self.output = output


def run(
    *command: str,
    timeout: float | None = 120.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return what it wrote to its standard output.

    `env` is added to the environment; `timeout` is in seconds, None for any time.  ProgramFailed for any
    other end than 0.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            # An interrupt from the terminal is for who runs it, and then takes everything away in order.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(command, None, _text(error.stdout) + _text(error.stderr)) from None
    if done.returncode != 0:
        raise ProgramFailed(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def _text(output: bytes | str | None) -> str:
    # A run that was cut off has bytes even where text was asked for.
    return output.decode(errors="replace") if isinstance(output, bytes) else (output or "")
