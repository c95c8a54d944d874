"""A control plane as its users run it: a process with flags, files, ports, signals and an exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.lab.waiting import wait_until
from tests.support.files import MeshFiles


@dataclass
class Answer:
    """What the monitoring address answered."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Process:
    """A `mini-istiod discovery` on `files`; it may have ended."""

    files: MeshFiles
    socket: Path
    log: Path
    child: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def records(self) -> list[dict[str, Any]]:
        """Its log so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def get(self, path: str, method: str = "GET") -> Answer:
        """What it answers at a path of its monitoring address."""
        asked = urllib.request.Request(f"http://{self._monitoring()}{path}", method=method)
        try:
            with urllib.request.urlopen(asked, timeout=10) as found:
                return Answer(found.status, found.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, refused.read().decode())

    def wait(
        self, condition: Callable[[], object], what: str | Callable[[], str], seconds: float = 20.0
    ) -> None:
        """Return once the condition holds; AssertionError when it does not, or the process ends."""

        def holds() -> bool:
            status = self.child.poll()
            assert status is None, f"ended ({status}):\n{self._tail()}"
            return bool(condition())

        if not wait_until(holds, seconds):
            missing = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {missing}\n{self._tail()}")

    def wait_listening(self) -> None:
        self.wait(lambda: any(one["message"] == "listening" for one in self.records()), "listening")

    def wait_ready(self) -> None:
        self.wait_listening()
        self.wait(lambda: self.get("/ready").status == 200, "ready")

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal and return the exit status."""
        self.child.send_signal(how)
        return self.child.wait(seconds)

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def _monitoring(self) -> str:
        (found,) = (one for one in self.records() if one["message"] == "listening")
        return str(found["monitoring"])


@contextmanager
def started(directory: Path, *flags: str) -> Iterator[Process]:
    """Start one on `directory`/config with a socket beside it; leaving ends it if it still runs.

    Starting again in the same directory is a restart: same files, same socket, a new log.
    """
    files = MeshFiles(directory / "config")
    socket, log = directory / "xds.sock", directory / "log"
    argv = [
        *(sys.executable, "-m", "controlplane", "discovery"),
        *("--config-dir", str(files.directory)),
        *("--grpc-addr", f"unix:{socket}"),
        *("--monitoring-addr", "127.0.0.1:0"),
        *("--log-format", "json"),
        *("--drain-duration", "0s"),
        *flags,
    ]
    log.unlink(missing_ok=True)
    root = Path(__file__).parents[2]
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=out, env=dict(os.environ), cwd=root)
    with child:
        try:
            yield Process(files, socket, log, child)
        finally:
            if child.poll() is None:
                child.kill()
