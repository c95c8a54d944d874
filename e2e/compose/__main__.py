"""`python -m e2e.compose [PYTEST ARGUMENTS]`: the daemon, the images, the tests; then all of it away again.

Ends as pytest does, or with 69 when this machine cannot run containers; one line says why, on the error
output and in the file that E2E_REASON names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from e2e.compose.daemon import docker_daemon
from e2e.compose.images import see_to_base_images
from e2e.compose.machine import CHECKOUT, Impossible
from e2e.compose.project import build_images, compose_version

# EX_UNAVAILABLE of sysexits.h
UNAVAILABLE = 69
# Parts that need a daemon, or Compose, and then the whole.
TESTS = (CHECKOUT / "tests" / "docker", Path(__file__).parent)


def main(arguments: list[str]) -> int:
    """Run everything; returns the status to end with."""
    started = time.monotonic()
    # As an exception, so that a daemon of our own ends with us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)

    try:
        say(compose_version())
        with docker_daemon() as which:
            say(which)
            see_to_base_images(say)
            say(build_images())
            status = _pytest(arguments)
        say("the end")
        return status
    except Impossible as error:
        print(error, file=sys.stderr)
        if file := os.environ.get("E2E_REASON"):
            Path(file).write_text(f"{error}\n")
        return UNAVAILABLE


def _pytest(arguments: list[str]) -> int:
    # The command is in an environment that may not have been activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "pytest", "--tb=short", *map(str, TESTS), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env={**os.environ, "PATH": path}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
