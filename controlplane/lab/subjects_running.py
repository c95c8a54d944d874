"""A server under test that runs: its processes, what they cost, what they count."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from controlplane.base.errors import MiniIstiodError
from controlplane.lab.fetch import Target, answers, fetch
from controlplane.lab.processes import cpu_seconds
from controlplane.lab.waiting import wait_until

_GRACE = 15.0
"""Seconds between SIGTERM and SIGKILL."""


class SubjectError(MiniIstiodError):
    """A server under test ended or is not ready in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Line:
    """A process: what it is called in logs, its command line, its environment and where it runs."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None


@dataclass(slots=True)
class Running:
    """A started server.  A context manager: leaving it ends its processes.

    `aid` is a process that the server needs and that is not part of what is measured.  Ready is who
    answers `ready_path` on `ready_port` (0: the monitoring port).
    """

    folder: Path
    line: Line
    xds_port: int
    monitoring_port: int
    ready_port: int = 0
    aid: Line | None = None
    aid_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    _aid_process: subprocess.Popen[bytes] | None = None
    _logs: list[IO[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where proxies connect: "127.0.0.1:port"."""
        return f"127.0.0.1:{self.xds_port}"

    @property
    def pid(self) -> int:
        """Of the server itself."""
        return self._own().pid

    @property
    def log(self) -> Path:
        """What the server says; a restarted server appends."""
        return self._log_of(self.line)

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> Running:
        """Start the processes that do not run yet."""
        if self.aid is not None and self._aid_process is None:
            self._start_aid(self.aid)
        self.process = self._spawn(self.line)
        return self

    def wait_ready(self, timeout: float = 60.0) -> float:
        """Return once it answers that it is ready; gives the monotonic second of that."""
        target = Target(None, "127.0.0.1", self.ready_port or self.monitoring_port)

        def ready() -> bool:
            self.check()
            return answers(target, "/ready")

        if not wait_until(ready, timeout):
            raise SubjectError(
                f"{self.line.name} is not ready after {timeout:.0f} s:\n{self._tail(self.line)}"
            )
        return time.monotonic()

    def check(self) -> None:
        """Raise SubjectError when it has ended."""
        status = self._own().poll()
        if status is not None:
            raise SubjectError(f"{self.line.name} ended ({status}):\n{self._tail(self.line)}")

    def restart(self, timeout: float = 60.0) -> float:
        """End the server and start it again at the same address; gives the seconds until it is ready."""
        _end(self._own())
        began = time.monotonic()
        self.process = self._spawn(self.line)
        return self.wait_ready(timeout) - began

    def stop(self) -> None:
        """End the processes."""
        for process in (self.process, self._aid_process):
            if process is not None:
                _end(process)
        self.process = self._aid_process = None
        for log in self._logs:
            log.close()
        self._logs.clear()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- what it costs --------------------------------------------------------------------------

    def cpu(self) -> float:
        """CPU seconds of the present server process, user and system, all threads."""
        return _cpu(self.pid)

    def aid_cpu(self) -> float:
        """CPU seconds of what the server needs beside it; 0 when that is nothing."""
        return _cpu(self._aid_process.pid) if self._aid_process is not None else 0.0

    def rss(self) -> int:
        """Bytes of memory that the server holds now."""
        return _status(self.pid, "VmRSS")

    def rss_peak(self) -> int:
        """The most that it ever held."""
        return _status(self.pid, "VmHWM")

    def counters(self) -> dict[str, float]:
        """What /metrics says now: 'name{label="value"}' -> value."""
        self.check()
        try:
            body = fetch(Target(None, "127.0.0.1", self.monitoring_port), "/metrics").body
        except (OSError, http.client.HTTPException) as error:
            raise SubjectError(f"{self.line.name} does not tell its metrics: {error}") from error
        return parse_metrics(body.decode())

    # -- the processes --------------------------------------------------------------------------

    def _own(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise SubjectError(f"{self.line.name} is not running")
        return self.process

    def _start_aid(self, aid: Line) -> None:
        process = self._aid_process = self._spawn(aid)
        target = Target(None, "127.0.0.1", self.aid_port)
        if not wait_until(lambda: process.poll() is not None or answers(target, "/readyz"), 10.0):
            self.stop()
            raise SubjectError(f"{aid.name} does not answer:\n{self._tail(aid)}")
        if (status := process.poll()) is not None:
            self.stop()
            raise SubjectError(f"{aid.name} ended ({status}):\n{self._tail(aid)}")

    def _spawn(self, line: Line) -> subprocess.Popen[bytes]:
        log = self._log_of(line).open("ab")
        self._logs.append(log)
        return subprocess.Popen(
            line.argv,
            env=dict(line.env),
            cwd=line.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def _log_of(self, line: Line) -> Path:
        return self.folder / f"{line.name}.log"

    def _tail(self, line: Line) -> str:
        # In the message, because the folder is often gone when somebody reads it.
        return "\n".join(self._log_of(line).read_text(errors="replace").splitlines()[-15:])


def free_ports(count: int) -> tuple[int, ...]:
    """Loopback ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(int(probe.getsockname()[1]) for probe in probes)
    finally:
        for probe in probes:
            probe.close()


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus' text format: sample -> value; comments and time stamps are left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        matched = _SAMPLE.match(line)
        if matched is not None:
            found[matched[1]] = float(matched[2])
    return found


_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*(?:\{.*\})?)\s+(\S+)(?:\s+-?\d+)?\s*$")


def _cpu(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except OSError as error:
        raise SubjectError(f"process {pid} has no clock: it has ended") from error


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SubjectError(f"process {pid} has no {name}: it has ended")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
