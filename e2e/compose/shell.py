"""Running the programs that a user would run, and saying what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# Kept over runs, never in the repository.
CACHE = CHECKOUT / ".tools" / "e2e"


class CommandFailed(Exception):
    """A program ended with another status than 0, or took too long; the text is what it said."""

    def __init__(self, command: tuple[str, ...], status: int | None, output: str) -> None:
        how = "took too long" if status is None else f"ended with {status}"
        super().__init__(f"`{' '.join(command)}` {how}:\n{_end(output)}")
        self.status = status
        self.output = output


class Impossible(Exception):
    """This machine cannot run containers; the text says why, and what would help."""


def run(
    *command: str, timeout: float = 120.0, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a program to its end and return what it wrote to its standard output.

    `env` is added to the environment; `timeout` is in seconds.  CommandFailed for any other end than 0.
    """
    __tracebackhide__ = True
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(command, None, _text(error.stdout) + _text(error.stderr)) from None
    if done.returncode != 0:
        raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def _text(output: bytes | str | None) -> str:
    # A run that was cut off has bytes even where text was asked for.
    return output.decode(errors="replace") if isinstance(output, bytes) else (output or "")


def _end(output: str, lines: int = 40) -> str:
    return "\n".join(output.rstrip().splitlines()[-lines:])
