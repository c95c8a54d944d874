"""mini-istiod as a server under test: a process with a documented command line, as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.base.errors import MiniIstiodError
from controlplane.lab.fetch import Target, answers
from controlplane.lab.waiting import wait_until

READY = 60.0


class ServerError(MiniIstiodError):
    """The server under test ended, or is not ready in time; the message holds the end of its log."""


@dataclass(slots=True)
class OwnServer:
    """`mini-istiod discovery` with flags of the caller's; `work` is a folder for its socket and logs."""

    work: Path
    flags: tuple[str, ...] = ()
    name: str = "mini-istiod"
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """Where proxies find it."""
        return f"unix:{self.work / 'xds.sock'}"

    @property
    def push_log(self) -> Path:
        return self.work / "push-log.jsonl"

    @property
    def pids(self) -> tuple[int, ...]:
        return () if self.process is None else (self.process.pid,)

    def start(self, config: Path) -> None:
        """Start it on a directory, and return when it is ready; ServerError when it is not."""
        log = self.work / "server.log"
        port = _free_port()
        argv = (
            *(sys.executable, "-m", "controlplane", "discovery", "--config-dir", str(config)),
            *("--grpc-addr", self.address, "--monitoring-addr", f"127.0.0.1:{port}"),
            *("--push-log", str(self.push_log), "--drain-duration", "0s", "--max-connection-age", "0"),
            *self.flags,
        )
        with log.open("wb") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, env=dict(os.environ))
        monitoring = Target(None, "127.0.0.1", port)
        process = self.process
        if wait_until(lambda: process.poll() is not None or answers(monitoring, "/ready"), READY):
            if process.poll() is None:
                return
            reason = f"ended ({process.returncode})"
        else:
            reason = f"is not ready after {READY:.0f} s"
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        self.stop()
        raise ServerError(f"{self.name} {reason}:\n{end}")

    def stop(self) -> None:
        """End it: kindly for twenty seconds, then not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    # Somebody else could take it before the server does; then that one says so and ends.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
